import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { BlobBytes, type BlobSource } from "../../../src/layer/blob-bytes.ts";
import { makeCancelFlag } from "../../../src/util/cancel-flag.ts";
import { FakeDownload } from "../../support/fake-download.ts";
import { randomBytes } from "../../support/random.ts";
import { rejection } from "../../support/rejection.ts";

const content = randomBytes("blob", 2_500_000);

function digestOf(algorithm: "sha256" | "sha512"): string {
  return `${algorithm}:${new Bun.CryptoHasher(algorithm).update(content).digest("hex")}`;
}

function sourceOf(file: string, digest = digestOf("sha256")): BlobSource {
  return { digest, sizeBytes: content.length, file };
}

/** A piece stays as it is only until the next one is asked for. */
const copyOf = (piece: Uint8Array) => piece.slice();

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
    expect(Buffer.concat(await Array.fromAsync(bytes.pieces(), copyOf)).equals(content)).toBe(true);
    await bytes.verify();
  });

  test("asks elsewhere where there is no file", async () => {
    await using bytes = await BlobBytes.open(sourceOf("/nowhere/blob"), readElsewhere);
    expect(Buffer.concat(await Array.fromAsync(bytes.pieces(), copyOf)).equals(content)).toBe(true);
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

/** A download of the content, or of other bytes by its digest. */
function begin(root: string, bytes: Uint8Array = content) {
  const download = new FakeDownload(root, bytes, { digest: digestOf("sha256") });
  const growth = { file: download.file, isOver: makeCancelFlag() };
  return { download, source: { ...sourceOf(join(root, "blob")), download: growth } };
}

describe("BlobBytes of a download", () => {
  test("reads the file while it grows, and when it has become a blob", async () => {
    using scratch = scratchFolder("unit");
    const { download, source } = begin(scratch.path);
    download.reach(500_000);
    await using bytes = await BlobBytes.open(source, readNowhere);
    const pieces: Uint8Array[] = [];
    for await (const piece of bytes.pieces()) {
      if (pieces.push(copyOf(piece)) === 2) download.reach(1_000_000);
      if (pieces.length === 6) download.commit();
    }
    expect(Buffer.concat(pieces).equals(content)).toBe(true);
    await bytes.verify();
  });

  test("reads the blob where the download has ended before", async () => {
    using scratch = scratchFolder("unit");
    const { download, source } = begin(scratch.path);
    download.commit();
    const file = join(scratch.path, "blob");
    writeFileSync(file, content);
    await using bytes = await BlobBytes.open(source, readNowhere);
    await bytes.verify();
  });

  test("refuses a blob with a flipped byte", async () => {
    using scratch = scratchFolder("unit");
    const flipped = content.with(1_234_567, ~(content[1_234_567] ?? 0));
    const { download, source } = begin(scratch.path, flipped);
    download.commit();
    writeFileSync(source.file, flipped);
    await using bytes = await BlobBytes.open(source, readNowhere);
    expect(await rejection(bytes.verify())).toMatchObject({ code: "data_loss" });
  });

  test("refuses a download that began anew with other bytes and is as long by then", async () => {
    using scratch = scratchFolder("unit");
    const { download, source } = begin(scratch.path);
    download.reach(content.length / 2);
    await using bytes = await BlobBytes.open(source, readNowhere);
    for await (const _ of bytes.pieces()) break;
    writeFileSync(download.file, randomBytes("other", content.length));
    expect(await rejection(bytes.verify())).toMatchObject({ code: "data_loss" });
  });

  test("gives up a download of which nothing is there", async () => {
    using scratch = scratchFolder("unit");
    const { download, source } = begin(scratch.path);
    download.abort();
    expect(await rejection(BlobBytes.open(source, readNowhere))).toMatchObject({
      code: "cancelled",
    });
  });

  test("gives up with the download", async () => {
    using scratch = scratchFolder("unit");
    const { download, source } = begin(scratch.path);
    download.reach(500_000);
    await using bytes = await BlobBytes.open(source, readNowhere);
    download.abort();
    expect(await rejection(bytes.verify())).toMatchObject({ code: "cancelled" });
  });
});
