/** Tars that are small and ask for much: what they may have is bounded, and can be given up. */
import { describe, expect, test } from "bun:test";
import { AppError } from "../../../src/errors.ts";
import { fileType } from "../../../src/erofs/tree.ts";
import type { LowerEntry, LowerTree } from "../../../src/layer/tar-lower.ts";
import { pathBytesMax, type TarLimits } from "../../../src/layer/tar-limits.ts";
import { buildTarTree, type TarTree, type TarTreeOptions } from "../../../src/layer/tar-tree.ts";
import { MemorySink } from "../../support/tar/memory-sink.ts";
import { pieces, type RawEntry, rawTar } from "../../support/tar/raw-tar.ts";
import { rejection } from "../../support/rejection.ts";

const chunkBytes = 4096;

function build(
  entries: readonly RawEntry[],
  options: Partial<TarTreeOptions> = {},
): Promise<TarTree> {
  const tar = pieces(rawTar(entries), 2 ** 30);
  return buildTarTree(tar, { sink: new MemorySink(), chunkBytes, ...options });
}

const directory = (name: string): RawEntry => ({ name, flag: "5", mode: 0o755 });
const symlink = (name: string, linkName: string): RawEntry => ({ name, flag: "2", linkName });
const hardLink = (name: string, linkName: string): RawEntry => ({ name, flag: "1", linkName });
const many = <T>(count: number, make: (index: number) => T) =>
  Array.from({ length: count }, (_, index) => make(index));
const deepPath = (depth: number) => many(depth, () => "d").join("/");
const withPath = (path: string): RawEntry => ({ name: "f", pax: { path } });

/** One byte in each chunk, so that all of the file is hashed. */
function sparseFile(runs: number): RawEntry {
  const map = many(runs, (index) => `${index * chunkBytes},1`).join(",");
  const size = { "GNU.sparse.numblocks": `${runs}`, "GNU.sparse.size": `${runs * chunkBytes}` };
  return { name: "s", pax: { "GNU.sparse.map": map, ...size }, content: "x".repeat(runs) };
}

/** Layers below that have what is asked for: a directory for each name but `file`. */
class DeepLower implements LowerTree {
  finds = 0;
  find(path: string, countSteps: (count: number) => void): LowerEntry | undefined {
    this.finds += 1;
    countSteps(path.split("/").length);
    const attributes = { mode: fileType.directory | 0o711, uid: 3, gid: 4, xattrs: [] };
    const times = { mtimeSeconds: 5, mtimeNanoseconds: 6 };
    if (!path.endsWith("file")) return { type: "directory", ...attributes, ...times };
    const content = {
      isSparse: false,
      nextData: (offset: number) => offset,
      read: (target: Buffer) => void target.fill(1),
    };
    const file = { type: "file", sizeBytes: 8 * chunkBytes, content } as const;
    return { ...attributes, ...times, ...file, mode: fileType.regular };
  }
}

/** Asks more of a tree than the limit, and less than ten times as much. */
const hostile: readonly (readonly [string, Partial<TarLimits>, readonly RawEntry[], string])[] = [
  [
    "directories that only paths name",
    { entries: 50 },
    [withPath(`${deepPath(60)}/f`)],
    "more than 50 entries",
  ],
  [
    "long names",
    { metadataBytes: 2000 },
    many(10, (index) => withPath(`${index}`.repeat(250))),
    "bytes of names and attributes",
  ],
  [
    "directories with long names for one place",
    { metadataBytes: 10_000 },
    many(10, () => ({ ...directory("d"), pax: { path: `${"./".repeat(1000)}d` } })),
    "bytes of names and attributes",
  ],
  [
    "many small attributes",
    { metadataBytes: 10_000 },
    [
      {
        name: "f",
        pax: Object.fromEntries(many(50, (index) => [`SCHILY.xattr.user.${index}`, ""])),
      },
    ],
    "bytes of names and attributes",
  ],
  ["a sparse file", { impliedBytes: 40 * chunkBytes }, [sparseFile(50)], "does not hold itself"],
  [
    "links to one large file below by many paths",
    { impliedBytes: 20 * chunkBytes },
    many(5, (index) => hardLink(`l${index}`, `p${index}/file`)),
    "does not hold itself",
  ],
  [
    "paths of many names",
    { steps: 1000 },
    many(20, (index) => withPath(`${deepPath(60)}/${index % 2}/f`)),
    "more than 1000 steps",
  ],
  [
    "symlinks that lead to symlinks",
    { steps: 1000 },
    [
      directory("a0"),
      ...many(50, (index) => symlink(`a${index + 1}`, `a${index}/`)),
      ...many(10, (index) => ({ name: `a50/${index}/f` })),
    ],
    "more than 1000 steps",
  ],
  [
    "marks that delete nothing of a large directory",
    { steps: 1000 },
    [
      { name: "x/f" },
      directory("d"),
      ...many(40, (index) => ({ name: `d/${index}` })),
      ...many(40, () => ({ name: "d/.wh..wh..opq" })),
    ],
    "more than 1000 steps",
  ],
  [
    "paths of many names in the layers below",
    { lowerSteps: 1000 },
    [withPath(`${deepPath(60)}/f`)],
    "in the layers below",
  ],
];

describe("buildTarTree() leaves to containerd", () => {
  test.each(hostile)("%s", async (_, limits, entries, message) => {
    const lower = message.includes("below") || message.includes("itself") ? new DeepLower() : null;
    const options = { lower: lower ?? undefined };
    const error = await rejection(build(entries, { ...options, limits }));
    expect(error).toMatchObject({ code: "unimplemented" });
    expect((error as Error).message).toContain(message);
    const [[what, limit] = ["steps", 0]] = Object.entries(limits);
    await build(entries, { ...options, limits: { [what]: 10 * limit } });
  });

  test("paths that are short only without their dots", async () => {
    const path = `${"a/../".repeat(1000)}f`;
    expect(path.length).toBeGreaterThan(pathBytesMax);
    for (const entry of [withPath(path), { ...hardLink("l", ""), pax: { linkpath: path } }]) {
      const error = await rejection(build([entry]));
      expect(error).toMatchObject({ code: "invalid_argument" });
      expect((error as Error).message.length).toBeLessThan(1000);
    }
  });
});

describe("buildTarTree() can be given up", () => {
  test.each<[string, readonly RawEntry[], number]>([
    ["within one sparse file", [sparseFile(50)], 0.5],
    ["at the end, with the times of directories", many(50, (i) => directory(`d${i}`)), 0.99],
    ["within the layers below", [withPath(`${deepPath(60)}/f`)], 0.5],
  ])("%s", async (_, entries, share) => {
    const lower = new DeepLower();
    let asked = 0;
    await build(entries, { lower, throwIfCancelled: () => void (asked += 1) });
    expect(asked).toBeGreaterThan(50);
    let left = Math.floor(asked * share);
    const throwIfCancelled = () => {
      left -= 1;
      if (left < 0) throw new AppError("cancelled", "Nobody waits");
    };
    const error = await rejection(build(entries, { lower, throwIfCancelled }));
    expect(error).toMatchObject({ code: "cancelled" });
    expect(left).toBe(-1);
  });
});

test("buildTarTree() looks each name of a path up once in the layers below", async () => {
  const lower = new DeepLower();
  await build([withPath(`${deepPath(1000)}/f`)], { lower });
  expect(lower.finds).toBeLessThan(1010);
});
