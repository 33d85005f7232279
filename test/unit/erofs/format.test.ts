import { describe, expect, test } from "bun:test";
import { DeviceMap } from "../../../src/erofs/device-map.ts";
import { directorySizeBytes, packDirectoryBlock } from "../../../src/erofs/directory-blocks.ts";
import {
  compactInodeField,
  dataLayout,
  deviceSlotField,
  direntField,
  extendedInodeField,
  superblockField,
  xattrEntryField,
  xattrHeaderField,
} from "../../../src/erofs/format.ts";
import {
  decodeDeviceNumber,
  encodeDeviceNumber,
  type InodeRecord,
  readInodeRecord,
  writeInodeRecord,
} from "../../../src/erofs/inode-record.ts";
import { SlotAllocator } from "../../../src/erofs/slot-allocator.ts";
import { joinXattrName, splitXattrName, xattrNameFilter } from "../../../src/erofs/xattr-format.ts";
import { type ByteString, byteStringOfText } from "../../../src/util/byte-string.ts";
import { crc32c } from "../../../src/util/crc32c.ts";
import { fieldOffsets } from "../../../src/util/field-offsets.ts";

describe("on-disk structures", () => {
  // Offsets as `pahole` shows them for fs/erofs of Linux 6.12.
  test("have their fields where the kernel expects them", () => {
    expect(superblockField).toMatchObject({
      rootNid: 14,
      epochSeconds: 24,
      uuid: 48,
      packedNid: 96,
    });
    expect(superblockField).toMatchObject({ featureIncompat: 80, extraDevices: 86, blocks: 36 });
    expect(superblockField).toMatchObject({ deviceTableSlot: 88, metaBlock: 40, xattrBlock: 44 });
    expect(compactInodeField).toMatchObject({ linkCount: 6, sizeBytes: 8, union: 16, uid: 24 });
    expect(extendedInodeField).toMatchObject({ sizeBytes: 8, union: 16, uid: 24, gid: 28 });
    expect(extendedInodeField).toMatchObject({ mtimeSeconds: 32, mtimeNanoseconds: 40 });
    expect(extendedInodeField).toMatchObject({ linkCount: 44, reserved2: 48 });
    expect(deviceSlotField).toMatchObject({ blocks: 64, uniaddr: 68 });
    expect(direntField).toMatchObject({ nid: 0, nameOffset: 8, fileType: 10 });
    expect(xattrHeaderField).toMatchObject({ nameFilter: 0, sharedCount: 4 });
    expect(xattrEntryField).toMatchObject({ nameLength: 0, nameIndex: 1, valueSizeBytes: 2 });
  });

  test("are not declared with a size that their fields do not have", () => {
    expect(() => fieldOffsets("s", 8, [["a", 4]])).toThrow("s has 4 bytes, expected 8");
    expect(() =>
      fieldOffsets("s", 8, [
        ["a", 4],
        ["a", 4],
      ]),
    ).toThrow("named twice");
  });
});

describe("crc32c()", () => {
  test("is the Castagnoli checksum without its inversions", () => {
    // The check value of the polynomial is 0xE3069283, inverted at both ends.
    expect(~crc32c(0xffffffff, Buffer.from("123456789")) >>> 0).toBe(0xe3069283);
  });
});

describe("writeInodeRecord()", () => {
  const inode: InodeRecord = {
    isExtended: true,
    layout: dataLayout.chunkBased,
    xattrCount: 0x1234,
    mode: 0o104755,
    sizeBytes: 2 ** 40 + 3,
    union: 0xfedcba98,
    inodeNumber: 77,
    uid: 2 ** 32 - 1,
    gid: 2 ** 31,
    linkCount: 70_000,
    mtimeSeconds: -(2 ** 40),
    mtimeNanoseconds: 999_999_999,
  };

  test.each([
    ["an extended inode", inode, 64],
    [
      "a compact inode",
      {
        ...inode,
        isExtended: false,
        sizeBytes: 2 ** 32 - 1,
        uid: 65_535,
        gid: 1,
        linkCount: 65_535,
      },
      32,
    ],
  ])("writes what is read: %s", (_, record, sizeBytes) => {
    const view = new DataView(new ArrayBuffer(96));
    expect(writeInodeRecord(view, 16, record)).toBe(sizeBytes);
    const written = new DataView(view.buffer, 16, sizeBytes);
    expect(readInodeRecord(written, record.mtimeSeconds, record.mtimeNanoseconds)).toEqual(record);
    expect(new Uint8Array(view.buffer, 16 + sizeBytes).every((byte) => byte === 0)).toBe(true);
  });
});

describe("encodeDeviceNumber()", () => {
  test("packs 12 bits of major and 20 of minor as Linux does", () => {
    // new_encode_dev(MKDEV(8, 1)) and new_encode_dev(MKDEV(259, 70000))
    expect(encodeDeviceNumber(8, 1)).toBe(0x801);
    expect(encodeDeviceNumber(259, 70_000)).toBe(0x11110370);
    expect(decodeDeviceNumber(encodeDeviceNumber(4095, 2 ** 20 - 1))).toEqual({
      major: 4095,
      minor: 2 ** 20 - 1,
    });
  });
});

describe("splitXattrName()", () => {
  test.each([
    ["user.a.b", 1, "a.b"],
    ["system.posix_acl_access", 2, ""],
    ["system.posix_acl_default", 3, ""],
    ["trusted.overlay.opaque", 4, "overlay.opaque"],
    ["security.capability", 6, "capability"],
  ])("finds the prefix of %s", (name, index, suffix) => {
    const split = splitXattrName(byteStringOfText(name));
    expect(split).toEqual({ index, suffix: byteStringOfText(suffix) });
    expect(joinXattrName(index, Buffer.from(suffix))).toBe(byteStringOfText(name));
  });

  test.each(["lustre.lov", "system.posix_acl_access2", "nonsense"])("knows none of %s", (name) => {
    expect(splitXattrName(byteStringOfText(name))).toBeUndefined();
  });
});

describe("xattrNameFilter()", () => {
  test("clears one bit for each name, and only that", () => {
    const opaque = splitXattrName(byteStringOfText("trusted.overlay.opaque"))!;
    const access = splitXattrName(byteStringOfText("system.posix_acl_access"))!;
    const both = xattrNameFilter([opaque, access]);
    expect(both).toBe((xattrNameFilter([opaque]) & xattrNameFilter([access])) >>> 0);
    expect(xattrNameFilter([])).toBe(0xffffffff);
  });
});

describe("packDirectoryBlock()", () => {
  test("fills a block to the last byte and not beyond", () => {
    const names = Array.from({ length: 20 }, () => "n".repeat(244) as ByteString);
    expect(packDirectoryBlock(names, 0)).toEqual({ first: 0, end: 16, sizeBytes: 4096 });
    expect(packDirectoryBlock(names, 16)).toEqual({ first: 16, end: 20, sizeBytes: 1024 });
    expect(directorySizeBytes(names)).toBe(4096 + 1024);
    expect(directorySizeBytes(names.slice(0, 16))).toBe(4096);
  });
});

describe("SlotAllocator", () => {
  test("fills the end of a block that something larger left free", () => {
    const slots = new SlotAllocator(1);
    expect(slots.place(64)).toBe(1);
    expect(slots.place(4096)).toBe(128);
    expect(slots.place(33)).toBe(3);
    expect(slots.place(32)).toBe(5);
    expect(slots.place(122 * 32)).toBe(6);
    expect(slots.place(32)).toBe(256);
    expect(slots.sizeBytes).toBe(257 * 32);
  });

  test("lets cross blocks only what is larger than one", () => {
    const slots = new SlotAllocator(0);
    for (let sizeBytes = 32; sizeBytes < 6000; sizeBytes += 92) {
      const start = slots.place(sizeBytes) * 32;
      const crosses = Math.floor(start / 4096) !== Math.floor((start + sizeBytes - 1) / 4096);
      expect(crosses && sizeBytes <= 4096).toBe(false);
    }
  });
});

describe("DeviceMap", () => {
  const first = { tag: "first", blocks: 10, uniaddr: 100 };
  const second = { tag: "second", blocks: 10, uniaddr: 110 };
  const map = new DeviceMap([second, first], 50);

  test("finds the device of a block", () => {
    expect(map.deviceOf(99)).toBeUndefined();
    expect(map.deviceOf(100)).toBe(first);
    expect(map.deviceOf(110)).toBe(second);
    expect(map.deviceOf(109)).toBe(first);
    expect(map.deviceOf(120)).toBeUndefined();
  });

  test("tells whether one place holds all of a range", () => {
    expect(map.holds(0, 50)).toBe(true);
    expect(map.holds(40, 11)).toBe(false);
    expect(map.holds(100, 10)).toBe(true);
    expect(map.holds(105, 6)).toBe(false);
    expect(map.holds(60, 1)).toBe(false);
  });
});
