import { describe, expect, test } from "bun:test";
import { sparseEntriesMax } from "../../../src/tar/format.ts";
import { TarReader } from "../../../src/tar/reader.ts";
import { pieces, type RawEntry, rawContent, rawHeader, rawTar } from "../../support/tar/raw-tar.ts";

function octal(value: number): string {
  return `${value.toString(8).padStart(11, "0")}\0`;
}

/** A header of type `S` with up to four runs, and blocks with the others. */
function gnuSparse(sizeBytes: number, runs: readonly (readonly [number, number])[]): Buffer {
  const entries = runs.map(([offset, length]) => octal(offset) + octal(length));
  const stored = runs.reduce((sum, [, length]) => sum + length, 0);
  const header = rawHeader({
    name: "sparse",
    flag: "S",
    magic: "ustar  \0",
    sizeBytes: stored,
    patches: [
      [386, entries.splice(0, 4).join("")],
      [482, entries.length > 0 ? "\x01" : "\0"],
      [483, octal(sizeBytes)],
    ],
  });
  const blocks = [header];
  while (entries.length > 0) {
    const block = Buffer.alloc(512);
    block.write(entries.splice(0, 21).join(""), 0, "latin1");
    block[504] = entries.length > 0 ? 1 : 0;
    blocks.push(block);
  }
  return Buffer.concat([...blocks, rawContent("D".repeat(stored))]);
}

async function readSparse(entry: RawEntry | Buffer): Promise<{ name: string; content: string }> {
  const reader = new TarReader(pieces(rawTar([entry]), 700), { globalRecords: "ignore" });
  const found = await reader.next();
  const content = Buffer.alloc((found?.sizeBytes ?? 0) + 10, "?");
  const count = await reader.readContent(content);
  expect(await reader.next()).toBeUndefined();
  return { name: String(found?.name), content: content.toString("latin1", 0, count) };
}

const map01 = (map: string, count: string, size = "10") => ({
  "GNU.sparse.map": map,
  "GNU.sparse.numblocks": count,
  "GNU.sparse.size": size,
});

const holes = (count: number) => "\0".repeat(count);

describe("a sparse file", () => {
  test("of old GNU tar has its map in the header", async () => {
    const { content } = await readSparse(
      gnuSparse(20, [
        [2, 3],
        [10, 4],
        [20, 0],
      ]),
    );
    expect(content).toBe(`${holes(2)}DDD${holes(5)}DDDD${holes(6)}`);
  });

  test("of old GNU tar goes on in further blocks", async () => {
    const runs = Array.from({ length: 50 }, (_, index) => [index * 10, 1] as const);
    const { content } = await readSparse(gnuSparse(500, runs));
    expect(content).toBe(`D${holes(9)}`.repeat(50));
  });

  test("of PAX 0.1 has its map in one record", async () => {
    const pax = {
      "GNU.sparse.map": "1,2,8,1",
      "GNU.sparse.numblocks": "2",
      "GNU.sparse.size": "10",
      "GNU.sparse.name": "real name",
    };
    const found = await readSparse({ name: "fake", pax, content: "ABC" });
    expect(found).toEqual({ name: "real name", content: `\0AB${holes(5)}C\0` });
  });

  test("of PAX 1.0 has its map before the content", async () => {
    const pax = {
      "GNU.sparse.major": "1",
      "GNU.sparse.minor": "0",
      "GNU.sparse.realsize": "10",
      "GNU.sparse.name": "real name",
    };
    const map = rawContent("2\n1\n2\n8\n1\n");
    const content = Buffer.concat([map, Buffer.from("ABC")]);
    const found = await readSparse({ name: "fake", pax, content });
    expect(found).toEqual({ name: "real name", content: `\0AB${holes(5)}C\0` });
  });

  test("of a version nobody knows is a plain file", async () => {
    const pax = { "GNU.sparse.major": "2", "GNU.sparse.minor": "0", "GNU.sparse.size": "99" };
    expect((await readSparse({ name: "n", pax, content: "ABC" })).content).toBe("ABC");
  });

  test("tells its holes, so that nobody has to read them", async () => {
    const size = 2 ** 40;
    const tar = rawTar([
      gnuSparse(2 ** 33 - 1, [[2 ** 32, 2]]),
      {
        name: "n",
        pax: {
          "GNU.sparse.map": `${size - 1},1`,
          "GNU.sparse.numblocks": "1",
          "GNU.sparse.size": `${size}`,
        },
        content: "E",
      },
    ]);
    const reader = new TarReader(pieces(tar), { globalRecords: "ignore" });
    await reader.next();
    expect(reader.holeBytes()).toBe(2 ** 32);
    reader.skipHole(2 ** 32);
    const target = Buffer.alloc(4);
    expect(await reader.readContent(target)).toBe(4);
    expect(target.toString()).toBe("DD\0\0");
    expect(reader.holeBytes()).toBe(2 ** 33 - 1 - 2 ** 32 - 4);
    expect((await reader.next())?.sizeBytes).toBe(size);
    reader.skipHole(reader.holeBytes());
    expect(await reader.readContent(target)).toBe(1);
    expect(await reader.readContent(target)).toBe(0);
  });

  const map10 = { "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "10" };
  const wrong: readonly (readonly [string, RawEntry | Buffer])[] = [
    ["runs that overlap", { name: "n", pax: map01("0,2,1,1", "2"), content: "ABC" }],
    ["runs in the wrong order", { name: "n", pax: map01("5,2,1,1", "2"), content: "ABC" }],
    ["a run beyond the end", { name: "n", pax: map01("8,3", "1"), content: "ABC" }],
    ["a run of less than nothing", { name: "n", pax: map01("8,-3", "1"), content: "" }],
    ["less content than its map", { name: "n", pax: map01("0,3", "1"), content: "AB" }],
    ["more content than its map", { name: "n", pax: map01("0,3", "1"), content: "ABCD" }],
    ["a wrong count", { name: "n", pax: map01("0,3", "2"), content: "ABC" }],
    ["a size that is no number", { name: "n", pax: map01("0,3", "1", "x"), content: "ABC" }],
    ["a map of no numbers", { name: "n", pax: map01("0,x", "1"), content: "ABC" }],
    ["no content", { name: "n", flag: "2", linkName: "x", pax: map01("0,3", "1") }],
    ["a map without end", { name: "n", pax: map10, content: "9".repeat(512) }],
    ["a map longer than the content", { name: "n", pax: map10, content: "3\n1\n" }],
    ["too many runs", { name: "n", pax: map10, content: rawContent(`${sparseEntriesMax + 1}\n`) }],
    ["a map in a header of another dialect", { name: "n", flag: "S", content: "" }],
  ];
  for (const [problem, entry] of wrong) {
    test(`with ${problem} is refused`, () => {
      expect(readSparse(entry)).rejects.toThrow("Cannot read sparse map at byte");
    });
  }
});
