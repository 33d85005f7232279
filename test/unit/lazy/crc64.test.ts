import { describe, expect, test } from "bun:test";
import { Crc64 } from "../../../src/lazy/zstd-chunked/crc64.ts";

function crcOf(...parts: readonly Uint8Array[]): string {
  const crc = new Crc64();
  for (const part of parts) crc.update(part);
  return crc.digest().toString("hex");
}

describe("Crc64", () => {
  test("is CRC-64/GO-ISO, by its check value", () => {
    expect(crcOf(Buffer.from("123456789"))).toBe("b90956c775a41001");
    expect(crcOf()).toBe("0000000000000000");
  });

  test("is the same in pieces of any length", () => {
    const bytes = Buffer.from("The quick brown fox jumps over the lazy dog");
    const whole = crcOf(bytes);
    for (let at = 0; at <= bytes.length; at++) {
      expect(crcOf(bytes.subarray(0, at), bytes.subarray(at))).toBe(whole);
    }
  });
});
