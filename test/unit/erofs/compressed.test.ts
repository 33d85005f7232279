import { describe, expect, test } from "bun:test";
import { FormatError } from "../../../src/errors.ts";
import { type CompressionAlgorithm, compressionAlgorithm } from "../../../src/erofs/compression.ts";
import { decodeExtent, encodeExtent, type ExtentCodec } from "../../../src/erofs/extent-codec.ts";
import { dataLayout, incompatFeature, superblockOffset } from "../../../src/erofs/format.ts";
import {
  type ErofsImage,
  type Extent,
  extentsOf,
  isOfType,
  PackedContent as PackedReader,
  walkImage,
} from "../../../src/erofs/read.ts";
import { holeChunk } from "../../../src/erofs/tree.ts";
import { byteStringOfText } from "../../../src/util/byte-string.ts";
import { KiB } from "../../../src/util/bytes.ts";
import { PackedContent } from "../../support/packed-content.ts";
import { randomBytes } from "../../support/random.ts";
import { chunkedFile, directory, inlineFile, randomNumbers } from "./make-tree.ts";
import { imageOf, openBytes, reseal } from "./tree-facts.ts";
import type { Directory } from "../../support/tree-objects.ts";

const packStart = 1 << 24;
const chunkBytes = 256 * KiB;
const codecs: readonly (readonly [string, ExtentCodec])[] = [
  ["zstd", { algorithm: compressionAlgorithm.zstd, level: 3 }],
  ["deflate", { algorithm: compressionAlgorithm.deflate, level: 6 }],
];
const zstd = codecs[0]![1];

interface Sample {
  readonly root: Directory;
  readonly content: PackedContent;
  readonly files: ReadonlyMap<string, Buffer>;
}

/** A file in each form. */
async function makeSample(codec: ExtentCodec): Promise<Sample> {
  const content = new PackedContent(codec, packStart);
  const text = Buffer.alloc(400_000, "some text that comes again ");
  const random = randomBytes("sample", 300_000);
  const smallSizes = [1, 4095, 5000, 40_000];
  const smalls = smallSizes.map((size, at) => text.subarray(at, at + size));
  const firstSmall = await content.addBundle(smalls);
  const rawSmall = await content.addBundle([random.subarray(0, 3000), random.subarray(3000, 9000)]);
  const halves = [text.subarray(0, chunkBytes), text.subarray(chunkBytes)];
  const whole = [await content.addExtents(halves[0]!), await content.addExtents(halves[1]!)];
  const tail = await content.addBundle([text.subarray(chunkBytes, chunkBytes + 20_000)]);
  const oneByte = await content.addBundle([text.subarray(chunkBytes, chunkBytes + 1)]);
  const mixed = Buffer.concat([random.subarray(0, 128 * KiB), text.subarray(0, 100_000)]);
  const files = new Map<string, Buffer>([
    ["/compressed", text],
    ["/mixed", mixed],
    ["/one-byte-tail", text.subarray(0, chunkBytes + 1)],
    ["/plain-then-compressed", Buffer.concat([random.subarray(0, chunkBytes), halves[1]!])],
    ["/raw-member", random.subarray(3000, 9000)],
    ["/tail", text.subarray(0, chunkBytes + 20_000)],
    ...smalls.map((bytes, at) => [`/small-${at}`, bytes] as const),
  ]);
  const chunks: Readonly<Record<string, readonly number[]>> = {
    "/compressed": whole,
    "/mixed": [await content.addExtents(mixed)],
    "/one-byte-tail": [whole[0]!, oneByte],
    "/plain-then-compressed": [content.addPlain(random.subarray(0, chunkBytes)), whole[1]!],
    "/raw-member": [rawSmall + 1],
    "/tail": [whole[0]!, tail],
    ...Object.fromEntries(smalls.map((_, at) => [`/small-${at}`, [firstSmall + at]])),
  };
  const root = directory(
    Object.fromEntries(
      [...files].map(([path, bytes]) => [
        path.slice(1),
        chunkedFile(bytes.length, chunkBytes, chunks[path]!),
      ]),
    ),
  );
  return { root, content, files };
}

/** Content of an extent, read from the pack. */
function contentOf(
  image: ErofsImage,
  packed: PackedReader,
  pack: Buffer,
  extent: Extent,
): Uint8Array {
  if (extent.kind === "fragment") {
    const holder = packed.extentAt(extent.packedOffsetBytes);
    const start = extent.packedOffsetBytes - holder.fileOffsetBytes;
    return contentOf(image, packed, pack, holder).subarray(start, start + extent.lengthBytes);
  }
  if (extent.kind !== "blocks" && extent.kind !== "compressed") throw new Error(extent.kind);
  const offset = (extent.block - packStart) * 4096;
  if (extent.kind === "blocks") return pack.subarray(offset, offset + extent.lengthBytes);
  const stored = pack.subarray(offset, offset + extent.storedBlocks * 4096);
  const { algorithm } = image.superblock;
  return decodeExtent(algorithm as CompressionAlgorithm, stored, extent.lengthBytes);
}

/** All regular files of an image with their content. */
function readFiles(image: ErofsImage, pack: Buffer): Map<string, Buffer> {
  const packed = new PackedReader(image);
  const files = new Map<string, Buffer>();
  for (const { path, inode } of walkImage(image)) {
    if (!isOfType(inode, "regular")) continue;
    const pieces = [...extentsOf(image, inode)].map((each) => contentOf(image, packed, pack, each));
    files.set(path, Buffer.concat(pieces));
  }
  return files;
}

describe.each(codecs)("emitImage() with %s", (_, codec) => {
  test("writes what the reader reads", async () => {
    const { root, content, files } = await makeSample(codec);
    const image = openBytes(imageOf(root, content.options()));
    expect(readFiles(image, content.bytes())).toEqual(new Map(files));
    expect(image.superblock.algorithm).toBe(codec.algorithm);
  });
});

describe("emitImage()", () => {
  test("writes for plain chunks the image it writes without packing", async () => {
    const content = new PackedContent(zstd, packStart);
    const root = directory({
      f: chunkedFile(8192, chunkBytes, content.addPlain(randomBytes("plain", 8192))),
      inline: inlineFile("inline"),
    });
    const { packing: _, ...plain } = content.options();
    const image = imageOf(root, content.options());
    expect(image.equals(imageOf(root, plain))).toBe(true);
    expect(openBytes(image).superblock.algorithm).toBeUndefined();
  });

  test("gives a compact index to what lies in a row, a full one to the rest", async () => {
    const { root, content } = await makeSample(zstd);
    const image = openBytes(imageOf(root, content.options()));
    const layouts = new Map([...walkImage(image)].map(({ path, inode }) => [path, inode.layout]));
    const [compact, full] = [dataLayout.compressedCompact, dataLayout.compressedFull];
    const layoutOf = (path: string) => layouts.get(byteStringOfText(path));
    expect(["/compressed", "/mixed"].map(layoutOf)).toEqual([compact, compact]);
    const others = ["/plain-then-compressed", "/tail", "/small-0"];
    expect(others.map(layoutOf)).toEqual([full, full, full]);
  });

  test("refuses holes beside compressed chunks, and fragments in the middle", async () => {
    const content = new PackedContent(zstd, packStart);
    const extents = await content.addExtents(Buffer.alloc(chunkBytes, "text "));
    const member = await content.addBundle([Buffer.alloc(5000, "text ")]);
    const hole = directory({ f: chunkedFile(2 * chunkBytes, chunkBytes, [extents, holeChunk]) });
    expect(() => imageOf(hole, content.options())).toThrow("no holes");
    const middle = directory({ f: chunkedFile(2 * chunkBytes, chunkBytes, [member, extents]) });
    expect(() => imageOf(middle, content.options())).toThrow("only the end");
  });

  test("refuses content that lies in no device", async () => {
    const content = new PackedContent(zstd, packStart);
    const chunk = await content.addExtents(Buffer.alloc(chunkBytes, "text "));
    const root = directory({ f: chunkedFile(chunkBytes, chunkBytes, chunk) });
    const options = { ...content.options(), blockOf: () => 5 };
    expect(() => imageOf(root, options)).toThrow("no device");
  });
});

describe("the reader", () => {
  test("reads or refuses any flipped byte of a compressed image", async () => {
    const { root, content } = await makeSample(zstd);
    const image = imageOf(root, content.options());
    const pack = content.bytes();
    const random = randomNumbers(5);
    for (let offset = superblockOffset; offset < image.length; offset += 1 + random(9)) {
      const changed = Buffer.from(image);
      changed[offset]! ^= 1 + random(255);
      try {
        readFiles(openBytes(offset < 4096 ? reseal(changed) : changed), pack);
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
      }
    }
  });

  test("refuses fragments without a packed inode", async () => {
    const { root, content } = await makeSample(zstd);
    const image = imageOf(root, content.options());
    const features = superblockOffset + 80;
    image.writeUInt32LE(image.readUInt32LE(features) & ~incompatFeature.fragments, features);
    const opened = openBytes(reseal(image));
    expect(() => readFiles(opened, content.bytes())).toThrow("a fragment of nothing");
  });
});

describe("encodeExtent()", () => {
  test("leaves alone what would save no block", async () => {
    expect(await encodeExtent(zstd, randomBytes("r", 100_000))).toBeUndefined();
    expect(await encodeExtent(zstd, Buffer.alloc(4096))).toBeUndefined();
    expect(await encodeExtent(zstd, Buffer.alloc(4097))).toHaveLength(4096);
  });

  test("leaves alone a deflate stream that begins like padding", async () => {
    const [, deflate] = codecs[1]!;
    // What does not compress comes first, as a stored block, whose header is a zero.
    const content = Buffer.concat([randomBytes("r", 65_536), Buffer.alloc(65_536)]);
    expect(await encodeExtent(deflate, content)).toBeUndefined();
  });
});

describe("decodeExtent()", () => {
  test.each(codecs)("refuses damaged %s", async (_, codec) => {
    const stored = (await encodeExtent(codec, Buffer.alloc(50_000, "text ")))!;
    expect(decodeExtent(codec.algorithm, stored, 50_000)).toHaveLength(50_000);
    expect(() => decodeExtent(codec.algorithm, stored, 49_999)).toThrow(FormatError);
    expect(() => decodeExtent(codec.algorithm, Buffer.alloc(4096), 50_000)).toThrow(FormatError);
    const cut = stored.subarray(0, stored.length - 5);
    expect(() => decodeExtent(codec.algorithm, cut, 50_000)).toThrow(FormatError);
  });

  test("refuses content larger than an extent", () => {
    const bomb = Bun.zstdCompressSync(Buffer.alloc(10_000_000));
    const decode = () => decodeExtent(compressionAlgorithm.zstd, bomb, 131_072);
    expect(decode).toThrow(FormatError);
  });
});
