import { describe, expect, test } from "bun:test";
import { renameSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { verifyImage } from "../../../src/store/verify-image.ts";

const content = Buffer.alloc(8192, 7);
const sha256 = new Bun.CryptoHasher("sha256").update(content).digest();

function imageIn(folder: string) {
  const path = join(folder, "1.erofs");
  writeFileSync(path, content);
  return { path, sizeBytes: content.length, sha256 };
}

describe("verifyImage", () => {
  test("does not read a file again that was not touched since", () => {
    using scratch = scratchFolder("unit");
    const image = imageIn(scratch.path);
    const stamp = verifyImage(image);
    // Only whoever reads the file finds that this is not its hash.
    const other = { ...image, sha256: new Uint8Array(32) };
    expect(() => verifyImage(other)).toThrow("holds other bytes");
    expect(verifyImage(other, stamp)).toBe(stamp);
  });

  test("reads a file again that was replaced, even where its time is the same", () => {
    using scratch = scratchFolder("unit");
    const image = imageIn(scratch.path);
    const { atime, mtime } = statSync(image.path);
    const stamp = verifyImage(image);
    const replacement = `${image.path}.new`;
    writeFileSync(replacement, Buffer.alloc(content.length, 8));
    utimesSync(replacement, atime, mtime);
    renameSync(replacement, image.path);
    expect(() => verifyImage(image, stamp)).toThrow("holds other bytes");
  });

  test("refuses a file that is missing", () => {
    const image = { path: "/nowhere/1.erofs", sizeBytes: 1, sha256 };
    expect(() => verifyImage(image, "any")).toThrow("is missing");
  });
});
