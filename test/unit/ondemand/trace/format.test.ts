import { describe, expect, test } from "bun:test";
import {
  formatTrace,
  parseTrace,
  type TraceEntry,
  tracePiecesMax,
} from "../../../../src/ondemand/trace/format.ts";
import { Picker } from "../../../support/picker.ts";
import { codeOf } from "../../../support/ondemand/code-of.ts";
import { hashOf, traceOf } from "../../../support/ondemand/traces.ts";

const [one, two] = [hashOf("1"), hashOf("2")];
const full: TraceEntry = {
  sha256: one,
  digest: `sha256:${two}`,
  offsetBytes: 2 ** 34,
  sizeBytes: 4096,
  atMs: 17,
  starts: "x-x",
};

describe("formatTrace()", () => {
  test("writes a line a piece that begins with the hash", () => {
    const text = formatTrace([full, ...traceOf(["2"])]);
    expect(text).toBe(`${one} sha256:${two} 17179869184 4096 17 x-x\n${two} - 0 0 0 x\n`);
    expect(parseTrace(text, "t")).toEqual([full, ...traceOf(["2"])]);
  });
});

describe("parseTrace()", () => {
  test("takes lists of hashes, in any case, each once", () => {
    const text = `${two}\r\n\n  ${one.toUpperCase()}  \n${two} more`;
    expect(parseTrace(text, "t")).toEqual(traceOf(["2", "1"]));
  });

  test("passes over words that are not ours", () => {
    const words = `${one} ../../etc -1 1e9 NaN xxxxx more and more`;
    expect(parseTrace(words, "t")).toEqual(traceOf(["1"]));
  });

  test.each(["hello", one.slice(1), `${one}0`, `${one}\n\0`, `sha256:${one}`])(
    "refuses %p",
    (text) => expect(codeOf(() => parseTrace(text, "t"))).toBe("invalid_argument"),
  );

  test("says which line it does not take", () => {
    expect(() => parseTrace(`${one}\n${one}\nx`, "file")).toThrow('Line 3 of "file" is no SHA-256');
  });

  test("is bounded", () => {
    const lines = formatTrace(
      traceOf(Array.from({ length: tracePiecesMax + 1 }, (_, i) => `${i}`)),
    );
    expect(codeOf(() => parseTrace(lines, "t"))).toBe("resource_exhausted");
    expect(parseTrace(lines, "t", tracePiecesMax + 1)).toHaveLength(tracePiecesMax + 1);
  });

  test("throws nothing else, whatever the bytes", () => {
    const picker = new Picker("trace");
    const good = formatTrace([full, ...traceOf(["2"])]);
    for (let round = 0; round < 500; round++) {
      const bytes = Buffer.from(good);
      for (let count = picker.integer(4); count >= 0; count--) {
        bytes[picker.integer(bytes.length)] = picker.integer(256);
      }
      const code = codeOf(() => parseTrace(bytes.toString("latin1"), "t"));
      expect(["invalid_argument", undefined]).toContain(code);
    }
  });
});
