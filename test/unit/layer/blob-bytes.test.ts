import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { BlobBytes, type BlobSource } from "../../../src/layer/blob-bytes.ts";
import { randomBytes } from "../../support/random.ts";
import { rejection } from "../../support/rejection.ts";

const content = randomBytes("blob", 2_500_000);

function digestOf(algorithm: "sha256" | "sha512"): string {
  return `${algorithm}:${new Bun.CryptoHasher(algorithm).update(content).digest("hex")}`;
}

function sourceOf(file: string, digest = digestOf("sha256")): BlobSource {
  return { digest, sizeBytes: content.length, file };
}

async function readElsewhere(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
  return content.subarray(offsetBytes, offsetBytes + lengthBytes);
}

async function readNowhere(): Promise<Uint8Array> {
  throw new Error("asked for what is a file");
}

describe("BlobBytes", () => {
  test.each(["sha256", "sha512"] as const)("reads a file whose %s is right", async (algorithm) => {
    using scratch = scratchFolder("unit");
    const file = join(scratch.path, "blob");
    writeFileSync(file, content);
    const source = sourceOf(file, digestOf(algorithm));
    await using bytes = await BlobBytes.open(source, readNowhere);
    expect(Buffer.concat(await Array.fromAsync(bytes.pieces())).equals(content)).toBe(true);
    await bytes.verify();
  });

  test("asks elsewhere where there is no file", async () => {
    await using bytes = await BlobBytes.open(sourceOf("/nowhere/blob"), readElsewhere);
    expect(Buffer.concat(await Array.fromAsync(bytes.pieces())).equals(content)).toBe(true);
    await bytes.verify();
  });

  test("verifies also what nobody has read", async () => {
    await using bytes = await BlobBytes.open(sourceOf("/nowhere/blob"), readElsewhere);
    for await (const piece of bytes.pieces()) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
    await bytes.verify();
  });

  test("refuses another digest, and says which it found", async () => {
    const wanted = `sha256:${"0".repeat(64)}`;
    await using bytes = await BlobBytes.open(sourceOf("/nowhere/blob", wanted), readElsewhere);
    expect(await rejection(bytes.verify())).toMatchObject({
      code: "data_loss",
      message: `Blob "${wanted}" has the digest ${digestOf("sha256")}`,
    });
  });

  test("refuses a file of another size, and an answer that is too short", async () => {
    using scratch = scratchFolder("unit");
    const file = join(scratch.path, "blob");
    writeFileSync(file, content.subarray(1));
    expect(await rejection(BlobBytes.open(sourceOf(file), readNowhere))).toMatchObject({
      code: "data_loss",
      message: expect.stringContaining("has 2499999 bytes, not 2500000"),
    });
    const short = async (offsetBytes: number) => content.subarray(offsetBytes, offsetBytes + 1000);
    await using bytes = await BlobBytes.open(sourceOf("/nowhere/blob"), short);
    expect(await rejection(bytes.verify())).toMatchObject({ code: "data_loss" });
  });
});
