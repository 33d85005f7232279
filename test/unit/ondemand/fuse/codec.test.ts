/** Offsets are those of include/uapi/linux/fuse.h, counted by hand. */
import { describe, expect, test } from "bun:test";
import { FormatError } from "../../../../src/errors.ts";
import { negotiate } from "../../../../src/ondemand/fuse/handshake.ts";
import {
  encodeInvalidateEntry,
  encodeInvalidateInode,
  encodeResend,
} from "../../../../src/ondemand/fuse/notifications.ts";
import {
  encodeAttributes,
  encodeDirectory,
  encodeEntry,
  encodeOpen,
  writeOutHeader,
} from "../../../../src/ondemand/fuse/replies.ts";
import {
  decodeHead,
  decodeInterrupt,
  decodeName,
  decodeRead,
} from "../../../../src/ondemand/fuse/requests.ts";

const headBytes = 40;

/** A request as the kernel writes it: `struct fuse_in_header` and what follows. */
function request(opcode: number, body: Buffer): Buffer {
  const bytes = Buffer.alloc(headBytes + body.length);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt32LE(opcode, 4);
  bytes.writeBigUInt64LE(0x8000_0000_0000_0012n, 8);
  bytes.writeBigUInt64LE(513n, 16);
  bytes.writeUInt32LE(4711, 32);
  body.copy(bytes, headBytes);
  return bytes;
}

const viewOf = (bytes: Buffer) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

describe("requests", () => {
  test("begin with who asks for what", () => {
    const bytes = request(15, Buffer.alloc(40));
    expect(decodeHead(viewOf(bytes), bytes.length)).toEqual({
      opcode: 15,
      unique: 0x8000_0000_0000_0012n,
      node: 513,
      pid: 4711,
    });
  });

  test("are refused when they are cut off", () => {
    const bytes = request(15, Buffer.alloc(40));
    expect(() => decodeHead(viewOf(bytes), 39)).toThrow(FormatError);
    expect(() => decodeHead(viewOf(bytes), 79)).toThrow(FormatError);
  });

  test("to read have an offset, also beyond 4 GiB, and a size", () => {
    const body = Buffer.alloc(40);
    body.writeBigUInt64LE(34_359_738_368n, 8);
    body.writeUInt32LE(131_072, 16);
    const read = decodeRead(viewOf(request(15, body)));
    expect(read).toEqual({ offsetBytes: 34_359_738_368, sizeBytes: 131_072 });
  });

  test("to look up have a name that ends with NUL", () => {
    const bytes = request(1, Buffer.from("512.pack\0"));
    expect(decodeName(bytes, bytes.length)).toBe("512.pack");
  });

  test("to interrupt name the request", () => {
    const body = Buffer.alloc(8);
    body.writeBigUInt64LE(18n);
    expect(decodeInterrupt(viewOf(request(36, body)))).toBe(18n);
  });
});

function init(flags: number, flags2: number, major = 7): Buffer {
  const body = Buffer.alloc(64);
  body.writeUInt32LE(major, 0);
  body.writeUInt32LE(45, 4);
  body.writeUInt32LE(131_072, 8);
  body.writeUInt32LE(flags, 12);
  body.writeUInt32LE(flags2, 16);
  return request(26, body);
}

describe("negotiate()", () => {
  test("asks for large and asynchronous reads that do not wait for one another", () => {
    const { reply, hasResend } = negotiate(init(0x7fff_ffff, 0xffff_ffff));
    const bytes = Buffer.from(reply);
    expect(bytes.length).toBe(64);
    expect(bytes.readUInt32LE(0)).toBe(7);
    // FUSE_ASYNC_READ, FUSE_ASYNC_DIO, FUSE_PARALLEL_DIROPS, FUSE_MAX_PAGES, FUSE_INIT_EXT.
    expect(bytes.readUInt32LE(12)).toBe(0x4044_8001);
    expect([bytes.readUInt16LE(16), bytes.readUInt16LE(18)]).toEqual([65_535, 65_535]);
    expect(bytes.readUInt16LE(28)).toBe(256);
    expect(bytes.readUInt32LE(32)).toBe(1 << 7);
    expect(hasResend).toBe(true);
  });

  test("asks an older kernel for nothing that it does not offer", () => {
    const { reply, hasResend } = negotiate(init(0x1, 0xffff_ffff));
    expect(Buffer.from(reply).readUInt32LE(12)).toBe(1);
    expect(hasResend).toBe(false);
  });

  test("refuses another protocol", () => {
    expect(() => negotiate(init(0, 0, 8))).toThrow(FormatError);
  });
});

describe("replies", () => {
  const facts = { node: 513, generation: 7, mode: 0o100400, sizeBytes: 2 ** 35 };

  test("begin with their length, the error and the request", () => {
    const bytes = Buffer.alloc(16);
    expect(writeOutHeader(viewOf(bytes), 0x8000_0000_0000_0012n, 5, 0)).toBe(16);
    expect(bytes.toString("hex")).toBe("10000000fbffffff1200000000000080");
  });

  test("to a look-up have node, generation, validity and attributes", () => {
    const bytes = Buffer.from(encodeEntry(facts));
    expect(bytes.length).toBe(128);
    expect(bytes.readBigUInt64LE(0)).toBe(513n);
    expect(bytes.readBigUInt64LE(8)).toBe(7n);
    expect(bytes.readBigUInt64LE(16)).toBeGreaterThan(2n ** 30n);
    expect(bytes.readBigUInt64LE(24)).toBeGreaterThan(2n ** 30n);
    expect(bytes.readBigUInt64LE(40)).toBe(513n);
    expect(bytes.readBigUInt64LE(48)).toBe(2n ** 35n);
    expect(bytes.readUInt32LE(40 + 60)).toBe(0o100400);
    expect(bytes.readUInt32LE(40 + 64)).toBe(1);
  });

  test("with attributes have these behind their validity", () => {
    const bytes = Buffer.from(encodeAttributes(facts));
    expect(bytes.length).toBe(104);
    expect(bytes.readBigUInt64LE(16 + 8)).toBe(2n ** 35n);
  });

  test("to an open ask for direct I/O", () => {
    expect(Buffer.from(encodeOpen()).readUInt32LE(8) & 1).toBe(1);
  });

  test("with entries have whole ones in words of eight bytes", () => {
    const entries = ["512.pack", "16000.pack"].map((name, index) => ({
      name,
      node: 513 + index,
      type: 0o100000,
      nextOffset: 514 + index,
    }));
    const bytes = Buffer.from(encodeDirectory(entries, 4096));
    expect(bytes.length).toBe(32 + 40);
    expect(bytes.readBigUInt64LE(8)).toBe(514n);
    expect(bytes.readUInt32LE(16)).toBe(8);
    expect(bytes.readUInt32LE(20)).toBe(8);
    expect(bytes.toString("latin1", 24, 32)).toBe("512.pack");
    expect(bytes.toString("latin1", 32 + 24, 72)).toBe("16000.pack\0\0\0\0\0\0");
    expect(encodeDirectory(entries, 71).length).toBe(32);
  });
});

describe("notifications", () => {
  test("have a code, and no request", () => {
    expect(Buffer.from(encodeResend()).toString("hex")).toBe("10000000070000000000000000000000");
    const inode = Buffer.from(encodeInvalidateInode(513));
    expect([inode.length, inode.readInt32LE(4)]).toEqual([40, 2]);
    expect(inode.readBigUInt64LE(16)).toBe(513n);
    const entry = Buffer.from(encodeInvalidateEntry(1, "512.pack"));
    expect([entry.length, entry.readInt32LE(4)]).toEqual([16 + 16 + 9, 3]);
    expect([entry.readBigUInt64LE(16), entry.readUInt32LE(24)]).toEqual([1n, 8]);
    expect(entry.toString("latin1", 32)).toBe("512.pack\0");
  });
});
