import { describe, expect, test } from "bun:test";
import type { TarEntry } from "../../../src/tar/entry.ts";
import { metaHeadersMax, specialBytesMax } from "../../../src/tar/format.ts";
import { TarReader } from "../../../src/tar/reader.ts";
import {
  checksum,
  paxHeader,
  paxRecord,
  pieces,
  type RawEntry,
  rawContent,
  rawEntry,
  rawHeader,
  rawTar,
} from "../../support/tar/raw-tar.ts";

const end = Buffer.alloc(1024);

interface Read {
  readonly entry: TarEntry;
  readonly content: string;
}

async function readAll(
  tar: Uint8Array,
  pieceBytes = 1000,
  globalRecords: "apply" | "ignore" = "ignore",
): Promise<Read[]> {
  const reader = new TarReader(pieces(tar, pieceBytes), { globalRecords });
  const found: Read[] = [];
  for (let entry = await reader.next(); entry; entry = await reader.next()) {
    const content = Buffer.alloc(Math.min(entry.sizeBytes, 65_536));
    const count = await reader.readContent(content);
    found.push({ entry, content: content.toString("latin1", 0, count) });
  }
  return found;
}

async function readOne(...entries: readonly (RawEntry | Uint8Array)[]): Promise<Read> {
  const [first] = await readAll(rawTar(entries));
  if (first === undefined) throw new Error("no entry");
  return first;
}

function base256(value: bigint, sizeBytes: number): Buffer {
  const bytes = Buffer.from(
    BigInt.asUintN(sizeBytes * 8, value)
      .toString(16)
      .padStart(sizeBytes * 2, "0"),
    "hex",
  );
  bytes[0]! |= 0x80;
  return bytes;
}

describe("TarReader", () => {
  test("reads every field of a ustar header", async () => {
    const { entry, content } = await readOne({
      name: "name",
      prefix: "some/prefix",
      content: "hello",
      mode: 0o4755,
      uid: 1000,
      gid: 1001,
      mtime: 1_234_567_890,
    });
    expect(content).toBe("hello");
    expect({ ...entry }).toMatchObject({
      type: "file",
      offset: 0,
      name: "some/prefix/name",
      sizeBytes: 5,
      mode: 0o4755,
      uid: 1000,
      gid: 1001,
      mtimeSeconds: 1_234_567_890,
      mtimeNanoseconds: 0,
      xattrs: [],
    });
  });

  test("tells types apart, and gives links no content", async () => {
    const flags = ["0", "\0", "1", "2", "3", "4", "5", "6", "7", "V"];
    const found = await readAll(rawTar(flags.map((flag) => ({ name: "n", flag }))));
    expect(found.map(({ entry }) => entry.type)).toEqual([
      "file",
      "file",
      "hard link",
      "symlink",
      "character device",
      "block device",
      "directory",
      "fifo",
      "other",
      "other",
    ]);
    const link = await readAll(
      Buffer.concat([rawHeader({ name: "link", flag: "1", sizeBytes: 512 }), end]),
    );
    expect(link.map(({ content }) => content)).toEqual([""]);
  });

  test("takes an old header with a slash at the end for a directory", async () => {
    expect((await readOne({ name: "d/", flag: "\0", magic: "\0".repeat(8) })).entry.type).toBe(
      "directory",
    );
    expect((await readOne({ name: "d/", flag: "0" })).entry.type).toBe("file");
  });

  test("reads the same whatever the pieces are", async () => {
    const tar = rawTar([
      { name: "one", content: "1".repeat(700), pax: { mtime: "1.5" } },
      { name: "two", content: "2".repeat(512) },
      { name: "three" },
    ]);
    const whole = await readAll(tar, tar.length);
    expect(whole.map(({ content }) => content.length)).toEqual([700, 512, 0]);
    for (const pieceBytes of [1, 7, 511, 512, 513, 1024]) {
      expect(await readAll(tar, pieceBytes)).toEqual(whole);
    }
  });

  test("passes over content nobody reads", async () => {
    const tar = rawTar([{ name: "one", content: "1".repeat(70_000) }, { name: "two" }]);
    const reader = new TarReader(pieces(tar, 999), { globalRecords: "ignore" });
    expect((await reader.next())?.name as string).toBe("one");
    await reader.readContent(Buffer.alloc(3));
    expect((await reader.next())?.name as string).toBe("two");
    expect(await reader.next()).toBeUndefined();
    expect(await reader.next()).toBeUndefined();
  });

  test("accepts the sum of signed bytes", async () => {
    const header = rawHeader({ name: "caf\xe9" });
    const signed = checksum(header) - 256;
    header.write(`${signed.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    expect((await readOne(header)).entry.name as string).toBe("caf\xe9");
  });

  test("reads base-256 numbers, also negative ones", async () => {
    const { entry } = await readOne({
      name: "n",
      magic: "ustar  \0",
      patches: [
        [108, base256(4_000_000_000n, 8)],
        [116, base256(-2n, 8)],
        [136, base256(-1_000_000_000n, 12)],
      ],
    });
    expect([entry.uid, entry.gid, entry.mtimeSeconds]).toEqual([4_000_000_000, -2, -1_000_000_000]);
  });

  test("reads the misplaced prefix that Go before 1.8 wrote, and no other", async () => {
    const magic = "ustar  \0";
    const old = await readOne({ name: "n", magic, prefix: "a/prefix/of/more/than/twelve/bytes" });
    expect(old.entry.name as string).toBe("a/prefix/of/more/than/twelve/bytes/n");
    const times = await readOne({ name: "n", magic, prefix: "12345670123\0" });
    expect(times.entry.name as string).toBe("n");
  });

  test("reads the shorter prefix of star", async () => {
    const star = { name: "n", prefix: "p".repeat(131), patches: [[508, "tar\0"]] } as const;
    expect((await readOne(star)).entry.name as string).toBe(`${"p".repeat(131)}/n`);
  });

  test("reads GNU long names and links", async () => {
    const name = "name/".repeat(60);
    const { entry } = await readOne(
      rawEntry({ name: "././@LongLink", flag: "L", content: `${name}\0` }),
      rawEntry({ name: "././@LongLink", flag: "K", content: "target".repeat(30) }),
      { name: "short", flag: "2", linkName: "short" },
    );
    expect([entry.name, entry.linkName] as string[]).toEqual([name, "target".repeat(30)]);
  });
});

describe("TarReader, PAX records", () => {
  test("go before the header's fields, and the last of equal ones counts", async () => {
    const records = Buffer.concat([
      paxRecord("path", "first"),
      paxRecord("path", "second\xff"),
      paxRecord("linkpath", "to"),
      paxRecord("uid", "3000000000"),
      paxRecord("gid", "-1"),
      paxRecord("size", "3"),
      paxRecord("mtime", "-1.25"),
      paxRecord("hdrcharset", "BINARY"),
    ]);
    const { entry, content } = await readOne(
      rawEntry({ name: "x", flag: "x", content: records }),
      Buffer.concat([rawHeader({ name: "n", sizeBytes: 0 }), rawContent("abc")]),
    );
    expect(content).toBe("abc");
    expect({ ...entry }).toMatchObject({
      name: "second\xff",
      linkName: "to",
      uid: 3_000_000_000,
      gid: -1,
      mtimeSeconds: -2,
      mtimeNanoseconds: 750_000_000,
    });
  });

  test("keep the bytes of extended attributes", async () => {
    const value = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const pax = { "SCHILY.xattr.user.\xff": "", "SCHILY.xattr.user.all": value };
    const { entry } = await readOne({ name: "n", pax });
    expect(entry.xattrs.map((xattr) => [String(xattr.name), Buffer.from(xattr.value)])).toEqual([
      ["user.\xff", Buffer.alloc(0)],
      ["user.all", value],
    ]);
  });

  test("without a value leave the header's field", async () => {
    const { entry } = await readOne({ name: "n", uid: 5, pax: { path: "", uid: "", mtime: "" } });
    expect([entry.name as string, entry.uid, entry.mtimeSeconds]).toEqual(["n", 5, 1_000_000_000]);
  });

  test("that are global hold for later entries only where asked for", async () => {
    const tar = rawTar([
      paxHeader({ uid: "7", gid: "8" }, "g"),
      { name: "one" },
      { name: "two", pax: { uid: "9" } },
    ]);
    const owners = async (globals: "apply" | "ignore") =>
      (await readAll(tar, 512, globals)).map(({ entry }) => [entry.type, entry.uid, entry.gid]);
    expect(await owners("apply")).toEqual([
      ["global records", 0, 0],
      ["file", 7, 8],
      ["file", 9, 8],
    ]);
    expect(await owners("ignore")).toEqual([
      ["global records", 0, 0],
      ["file", 0, 0],
      ["file", 9, 0],
    ]);
  });

  for (const [problem, bytes] of [
    ["no length", "path=x\n"],
    ["a length of other things", "1x path=x\n"],
    ["a length beyond the end", "99 path=x\n"],
    ["a length that is too short", "4 p\n"],
    ["no line end", "9 path=xy"],
    ["no equals sign", "9 pathxy\n"],
    ["an empty key", "6 =xy\n"],
    ["a NUL in a path", "10 path=\0x\n"],
    ["zeros at the end", "9 path=x\n\0\0\0"],
  ] as const) {
    test(`are refused with ${problem}`, async () => {
      const header = rawEntry({ name: "x", flag: "x", content: bytes });
      expect(readAll(rawTar([header, { name: "n" }]))).rejects.toThrow("PAX record at byte");
    });
  }

  for (const pax of [{ uid: "x" }, { size: "1.5" }, { mtime: "soon" }, { mtime: "1.5.5" }]) {
    test(`are refused where ${JSON.stringify(pax)} is no number`, async () => {
      expect(readAll(rawTar([{ name: "n", pax }]))).rejects.toThrow("is no number");
    });
  }
});

describe("TarReader, the end of the archive", () => {
  const tar = rawTar([{ name: "one", content: "1".repeat(700) }]);
  const body = tar.subarray(0, tar.length - 1024);

  test("is two blocks of zeros, one at the end of the stream, or that end alone", async () => {
    const zeros = Buffer.alloc(512);
    for (const rest of [[], [zeros], [zeros, zeros], [zeros, zeros, Buffer.from("garbage")]]) {
      expect((await readAll(Buffer.concat([body, ...rest]))).length).toBe(1);
    }
    expect(await readAll(Buffer.alloc(0))).toEqual([]);
  });

  test("may come before the padding, as in Go", async () => {
    expect((await readAll(body.subarray(0, 512 + 700))).length).toBe(1);
  });

  test("anywhere else is an error that says where", async () => {
    for (const length of [1, 511, 513, 512 + 699, body.length + 1, body.length + 513]) {
      expect(readAll(tar.subarray(0, length))).rejects.toThrow(/^Cannot read tar .* at byte \d+/);
    }
    const afterZeros = Buffer.concat([body, Buffer.alloc(512), body]);
    expect(readAll(afterZeros)).rejects.toThrow("only one block of zeros");
  });
});

describe("TarReader refuses", () => {
  test("a wrong checksum", async () => {
    const header = rawHeader({ name: "n" });
    header[0]! ^= 1;
    expect(readAll(Buffer.concat([header, end]))).rejects.toThrow("checksum");
  });

  test("numbers that are none, too large, or negative where that makes no sense", async () => {
    for (const patch of ["0000008", base256(2n ** 60n, 12), base256(-5n, 12)]) {
      const header = rawHeader({ name: "n", patches: [[124, patch]] });
      expect(readAll(Buffer.concat([header, end]))).rejects.toThrow("tar header at byte 0");
    }
  });

  test("headers about headers without end", async () => {
    const header = paxHeader({ comment: "again" });
    const headers = Array.from({ length: metaHeadersMax + 1 }, () => header);
    expect(readAll(rawTar([...headers, { name: "n" }]))).rejects.toThrow("headers for one entry");
  });

  test("names and records of more than a megabyte", async () => {
    for (const flag of ["x", "L", "K", "g"]) {
      const header = rawHeader({ name: "n", flag, sizeBytes: specialBytesMax + 1 });
      expect(readAll(Buffer.concat([header, end]))).rejects.toThrow("bytes about one entry");
    }
  });

  test("global records that never end", async () => {
    const value = "v".repeat(specialBytesMax / 2);
    const headers = Array.from({ length: 9 }, (_, index) =>
      paxHeader({ [`k${index}`]: value }, "g"),
    );
    expect((await readAll(rawTar(headers))).length).toBe(9);
    expect(readAll(rawTar(headers), 65_536, "apply")).rejects.toThrow("bytes of global records");
  });
});
