import { describe, expect, test } from "bun:test";
import { FormatError } from "../../../src/errors.ts";
import {
  compactInodeField,
  incompatFeature,
  superblockField,
  superblockOffset,
} from "../../../src/erofs/format.ts";
import { readOwnContent, walkImage } from "../../../src/erofs/read.ts";
import { holeChunk } from "../../../src/erofs/tree.ts";
import { byteStringOfText } from "../../../src/util/byte-string.ts";
import {
  chunkedFile,
  directory,
  inlineFile,
  randomNumbers,
  special,
  symlink,
  xattr,
} from "./make-tree.ts";
import { factsOfImage, imageOf, noDevices, openBytes, reseal, twoPacks } from "./tree-facts.ts";
import type { Directory } from "../../support/tree-objects.ts";

function smallTree(): Directory {
  const linked = inlineFile("two names", { xattrs: [xattr("user.note", "a".repeat(50))] });
  const root = directory({
    d: directory({ e: directory({ linked }), f: special("blockDevice", 8, 1) }),
    linked,
    run: chunkedFile(70_000, 32_768, [1, 2, 3]),
    scattered: chunkedFile(70_000, 32_768, [3, holeChunk, 1]),
    sym: symlink("d/e"),
    labelled: inlineFile("x", { xattrs: [xattr("user.note", "a".repeat(50))], uid: 70_000 }),
  });
  for (let at = 0; at < 200; at++) {
    root.entries.set(byteStringOfText(`name-number-${at}`), inlineFile(""));
  }
  return root;
}

/** Reads everything of the image: passes where that works or is refused as it should. */
function readOrRefuse(image: Uint8Array): void {
  try {
    factsOfImage(openBytes(image));
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
  }
}

/** The image after a change of its superblock. */
function withSuperblock(change: (superblock: Buffer) => void): Buffer {
  const image = imageOf(smallTree(), twoPacks);
  change(image.subarray(superblockOffset));
  return reseal(image);
}

describe("openImage()", () => {
  test("refuses what is no EROFS image", () => {
    expect(() => openBytes(Buffer.alloc(8192))).toThrow("no EROFS magic");
    expect(() => openBytes(Buffer.alloc(0))).toThrow(FormatError);
  });

  test("refuses a superblock whose checksum does not match", () => {
    const image = imageOf(smallTree(), twoPacks);
    image[superblockOffset + superblockField.inodeCount]! ^= 1;
    expect(() => openBytes(image)).toThrow("checksum");
  });

  test("leaves the bytes it reads as they are", () => {
    const image = imageOf(smallTree(), twoPacks);
    const before = Buffer.from(image);
    factsOfImage(openBytes(image));
    expect(image.equals(before)).toBe(true);
  });

  test("refuses features it does not know", () => {
    const image = withSuperblock((superblock) => {
      const known = superblock.readUInt32LE(superblockField.featureIncompat);
      superblock.writeUInt32LE(known | 0x80, superblockField.featureIncompat);
    });
    expect(() => openBytes(image)).toThrow("unknown incompatible features 0x80");
  });

  test("refuses an image shorter than its superblock says", () => {
    const image = imageOf(smallTree(), twoPacks);
    expect(() => openBytes(image.subarray(0, -1))).toThrow("the image ends");
  });

  test("refuses a device table outside of the image", () => {
    const image = withSuperblock((superblock) => {
      superblock.writeUInt16LE(0xffff, superblockField.deviceTableSlot);
    });
    expect(() => openBytes(image)).toThrow("EROFS device table");
  });

  test("reads the features that it writes", () => {
    const { superblock, devices } = openBytes(imageOf(smallTree(), twoPacks));
    expect(superblock.featureIncompat).toBe(
      incompatFeature.chunkedFile | incompatFeature.deviceTable,
    );
    expect(devices).toEqual([...twoPacks.devices]);
  });
});

describe("walkImage()", () => {
  test("refuses a root that is no directory", () => {
    const image = withSuperblock((superblock) => {
      superblock.writeUInt16LE(
        superblock.readUInt16LE(superblockField.rootNid) + 400,
        superblockField.rootNid,
      );
    });
    expect(() => [...walkImage(openBytes(image))]).toThrow(FormatError);
  });

  test("refuses directories that form a cycle", () => {
    const image = imageOf(directory({ d: directory() }), noDevices);
    const { rootNid } = openBytes(image).superblock;
    const names = image.indexOf(Buffer.from("...d", "latin1"));
    // The root's last dirent, which lies right before the names, now points to the root.
    image.writeBigUInt64LE(BigInt(rootNid), names - 12);
    expect(() => [...walkImage(openBytes(image))]).toThrow("second name");
  });

  test("refuses a directory larger than the image", () => {
    const image = imageOf(directory(), noDevices);
    image.writeUInt32LE(0xffffffff, 4096 + 32 + compactInodeField.sizeBytes);
    expect(() => [...walkImage(openBytes(image))]).toThrow("more than the image");
  });
});

describe("readOwnContent()", () => {
  test("reads ranges over whole blocks and the tail", () => {
    const bytes = Buffer.from(Array.from({ length: 10_000 }, (_, at) => at % 251));
    const image = openBytes(imageOf(directory({ f: inlineFile(bytes) }), noDevices));
    const { inode } = [...walkImage(image)][1]!;
    expect(readOwnContent(image, inode, 0, 10_000)).toEqual(bytes);
    expect(readOwnContent(image, inode, 8000, 500)).toEqual(bytes.subarray(8000, 8500));
    expect(() => readOwnContent(image, inode, 9999, 2)).toThrow(FormatError);
  });
});

describe("the reader", () => {
  test("reads or refuses every truncation, and never breaks", () => {
    const image = imageOf(smallTree(), twoPacks);
    for (let length = 0; length <= image.length; length += length % 128 === 0 ? 1 : 127) {
      readOrRefuse(image.subarray(0, length));
    }
  });

  test("reads or refuses any flipped byte, also under a right checksum", () => {
    const image = imageOf(smallTree(), twoPacks);
    const random = randomNumbers(1);
    for (let offset = superblockOffset; offset < image.length; offset += 1 + random(3)) {
      const changed = Buffer.from(image);
      changed[offset]! ^= 1 + random(255);
      readOrRefuse(offset < 4096 ? reseal(changed) : changed);
    }
  });

  test("reads or refuses images of random bytes behind a sound superblock", () => {
    const image = imageOf(smallTree(), twoPacks);
    for (let seed = 0; seed < 200; seed++) {
      const random = randomNumbers(seed);
      const changed = Buffer.from(image);
      for (let count = 0; count < 200; count++) {
        changed[4096 + random(image.length - 4096)] = [0, 0xff, random(256)][random(3)]!;
      }
      readOrRefuse(changed);
    }
  });
});
