import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { Gunzip } from "../../../src/compress/gunzip.ts";
import { KiB } from "../../../src/util/bytes.ts";
import { randomBytes } from "../../support/random.ts";

const content = Buffer.concat([Buffer.alloc(100_000, "text "), randomBytes("random", 70_000)]);
const member = gzipSync(content);

/** What is read into a target of this size, over and over again. */
function readAll(input: Uint8Array, target: Uint8Array): Buffer {
  using gunzip = new Gunzip();
  gunzip.feed(input);
  const parts: Uint8Array[] = [];
  for (let count = gunzip.read(target, 0); count > 0; count = gunzip.read(target, 0)) {
    parts.push(target.slice(0, count));
  }
  gunzip.finish();
  return Buffer.concat(parts);
}

// What is used of the runtime is not documented: if one of these fails, a new version has changed.
describe("Gunzip", () => {
  test("goes on where the target was full, and with the next member", () => {
    const input = Buffer.concat([member, gzipSync(""), member]);
    const read = readAll(input, new Uint8Array(7919));
    expect(read.equals(Buffer.concat([content, content]))).toBe(true);
  });

  test("writes to shared memory, and only where it is told to", () => {
    const target = new Uint8Array(new SharedArrayBuffer(4 * KiB)).fill(1);
    using gunzip = new Gunzip();
    gunzip.feed(gzipSync("shared"));
    expect(gunzip.read(target, 100)).toBe(6);
    expect(Buffer.from(target.slice(99, 107)).toString("latin1")).toBe("\x01shared\x01");
    expect(readAll(member, target).equals(content)).toBe(true);
  });

  test("takes its input byte by byte", () => {
    using gunzip = new Gunzip();
    const target = Buffer.alloc(content.length);
    let filled = 0;
    for (const byte of member) {
      gunzip.feed(Uint8Array.of(byte));
      if (filled < target.length) filled += gunzip.read(target, filled);
      else expect(gunzip.read(Buffer.alloc(1), 0)).toBe(0);
    }
    gunzip.finish();
    expect(target.equals(content)).toBe(true);
  });

  test("tells why it fails, also when it is asked again", () => {
    using gunzip = new Gunzip();
    gunzip.feed(Buffer.from("no gzip"));
    const failure = expect.objectContaining({
      code: "data_loss",
      message: "Cannot decompress gzip: incorrect header check",
    });
    expect(() => gunzip.read(Buffer.alloc(10), 0)).toThrow(failure);
    expect(() => gunzip.read(Buffer.alloc(10), 0)).toThrow(failure);
  });

  test("keeps no memory", () => {
    const target = new Uint8Array(KiB);
    const before = process.memoryUsage.rss();
    for (let round = 0; round < 2000; round++) {
      using gunzip = new Gunzip();
      gunzip.feed(member);
      gunzip.read(target, 0);
    }
    expect(process.memoryUsage.rss() - before).toBeLessThan(60 * KiB * KiB);
  });
});
