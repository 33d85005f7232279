import { describe, expect, test } from "bun:test";
import { TarReader } from "../../../src/tar/reader.ts";
import { archiveEnd, entryHeader, type WrittenEntry } from "../../../src/tar/write.ts";
import { byteString, byteStringOfText } from "../../../src/util/byte-string.ts";
import { pieces } from "../../support/tar/raw-tar.ts";

const plain: WrittenEntry = {
  flag: "0",
  name: byteStringOfText("file"),
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeSeconds: 1_000_000_000,
  mtimeNanoseconds: 0,
  xattrs: [],
};

async function readBack(entry: WrittenEntry) {
  const reader = new TarReader(pieces(Buffer.concat([entryHeader(entry), archiveEnd])), {
    globalRecords: "ignore",
  });
  return reader.next();
}

describe("entryHeader()", () => {
  test("needs one block for what ustar holds", () => {
    expect(entryHeader(plain).length).toBe(512);
  });

  test("is read back with all that ustar has no room for", async () => {
    const entry: WrittenEntry = {
      ...plain,
      flag: "2",
      name: byteString(Uint8Array.of(0x61, 0xff)),
      linkName: byteStringOfText("x".repeat(4000)),
      mode: 0o6751,
      uid: 0xffff_fffe,
      gid: 3_000_000,
      mtimeSeconds: -2,
      mtimeNanoseconds: 1,
      xattrs: [{ name: byteStringOfText("user.a"), value: Buffer.from("=\n\0\xff", "latin1") }],
    };
    const { flag, ...expected } = entry;
    expect(await readBack(entry)).toMatchObject({ ...expected, type: "symlink" });
    expect(flag).toBe("2");
  });

  test("counts the digits of a record's own length", async () => {
    for (let length = 80; length <= 120; length++) {
      const value = Buffer.alloc(length, "v");
      const xattrs = [{ name: byteStringOfText("user.a"), value }];
      expect((await readBack({ ...plain, xattrs }))?.xattrs[0]?.value.length).toBe(length);
    }
  });
});
