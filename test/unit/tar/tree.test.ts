import { describe, expect, test } from "bun:test";
import { fileType } from "../../../src/erofs/tree.ts";
import type { LowerEntry, LowerTree } from "../../../src/layer/tar-lower.ts";
import { linksPerPathMax } from "../../../src/layer/tar-limits.ts";
import { buildTarTree, type TarTree } from "../../../src/layer/tar-tree.ts";
import { byteStringOfText } from "../../../src/util/byte-string.ts";
import { MemorySink } from "../../support/tar/memory-sink.ts";
import { emptyFiles } from "../../support/tar/empty-files.ts";
import { pieces, type RawEntry, rawTar } from "../../support/tar/raw-tar.ts";
import { type Directory, fromFileTree, type Inode } from "../../support/tree-objects.ts";

const chunkBytes = 4096;

async function build(
  entries: readonly (RawEntry | Uint8Array)[],
  lower?: LowerTree,
  sink = new MemorySink(),
): Promise<TarTree & { readonly root: Directory }> {
  const built = await buildTarTree(pieces(rawTar(entries)), { sink, chunkBytes, lower });
  return { ...built, root: fromFileTree(built.tree) };
}

function find(root: Directory, path: string): Inode | undefined {
  let inode: Inode | undefined = root;
  for (const name of path.split("/")) {
    inode = inode?.type === "directory" ? inode.entries.get(byteStringOfText(name)) : undefined;
  }
  return inode;
}

const directory = (name: string, rest: Partial<RawEntry> = {}): RawEntry => ({
  name,
  flag: "5",
  mode: 0o755,
  ...rest,
});
const symlink = (name: string, linkName: string): RawEntry => ({ name, flag: "2", linkName });
const hardLink = (name: string, linkName: string): RawEntry => ({ name, flag: "1", linkName });

/** Layers below that have nothing but what is given. */
function lowerTree(entries: Readonly<Record<string, Partial<LowerEntry>>>): LowerTree {
  return {
    find(path) {
      const entry = path === "" ? { type: "directory" } : entries[path];
      if (entry === undefined) return undefined;
      const attributes = { mode: fileType.directory | 0o711, uid: 3, gid: 4, xattrs: [] };
      return { ...attributes, mtimeSeconds: 5, mtimeNanoseconds: 6, ...entry } as LowerEntry;
    },
  };
}

async function* streamed(tar: Iterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  yield* tar;
}

describe("buildTarTree()", () => {
  test("lets the later of two entries win, and keeps what is in a directory", async () => {
    const { root } = await build([
      directory("d", { mode: 0o700 }),
      { name: "d/f", content: "first" },
      directory("d", { mode: 0o711, mtime: 7 }),
      { name: "d/f", content: "second" },
      { name: "x/y/z" },
      { name: "x/y", content: "no directory any more" },
    ]);
    expect(find(root, "d")).toMatchObject({ mode: fileType.directory | 0o711, mtimeSeconds: 7 });
    expect(find(root, "d/f")).toMatchObject({ content: { bytes: Buffer.from("second") } });
    expect(find(root, "x/y")?.type).toBe("file");
  });

  test("keeps every name inside the root", async () => {
    const { root } = await build([
      { name: "../../a" },
      { name: "/b" },
      { name: "./c/../../d" },
      symlink("up", "../../.."),
      { name: "up/e" },
      symlink("abs", "/"),
      { name: "abs/../abs/f" },
    ]);
    expect([...root.entries.keys()].map(String).sort()).toEqual([
      "a",
      "abs",
      "b",
      "d",
      "e",
      "f",
      "up",
    ]);
  });

  test("follows symlinks of the layer in paths, dangling ones too", async () => {
    const { root } = await build([
      symlink("lib", "usr/lib"),
      { name: "lib/a" },
      symlink("usr/bin", "/opt/bin"),
      { name: "usr/bin/b" },
    ]);
    expect(find(root, "usr/lib/a")?.type).toBe("file");
    expect(find(root, "opt/bin/b")?.type).toBe("file");
  });

  test("refuses loops of symlinks and ways through files", async () => {
    expect(build([symlink("a", "b"), symlink("b", "a"), { name: "a/x" }])).rejects.toThrow(
      'Cannot apply "a/x" at byte 1024 of the layer: too many symlinks',
    );
    expect(build([{ name: "f" }, { name: "f/x" }])).rejects.toThrow("not a directory");
    const chain = Array.from({ length: linksPerPathMax + 1 }, (_, index) =>
      symlink(`l${index}`, `l${index + 1}`),
    );
    expect((await build([...chain, { name: "l1/x" }])).root.entries.size).toBe(chain.length + 1);
    expect(build([...chain, { name: "l0/x" }])).rejects.toThrow("too many symlinks");
  });

  test("refuses names and paths that Linux has no room for", async () => {
    expect(build([{ name: "n", pax: { path: "n".repeat(256) } }])).rejects.toThrow("256 bytes");
    const deep = "d/".repeat(2047);
    expect((await build([{ name: "n", pax: { path: `${deep}x` } }])).root.entries.size).toBe(1);
    expect(build([{ name: "n", pax: { path: `${deep}d/d/x` } }])).rejects.toThrow("too long");
    expect(build([symlink("s", "")])).rejects.toThrow("a target of 0 bytes");
    const pax = { linkpath: "t".repeat(4096) };
    expect(build([{ name: "s", flag: "2", pax }])).rejects.toThrow("a target of 4096 bytes");
  });

  test("applies the attributes of a hard link's header to the file", async () => {
    const capability = { "SCHILY.xattr.security.capability": "\x01\0\0\x02".padEnd(20, "\0") };
    const { root } = await build([
      { name: "f", content: "x", pax: { ...capability, "SCHILY.xattr.user.kept": "1" } },
      { ...hardLink("g", "./f"), mode: 0o600, uid: 9, mtime: 8 },
    ]);
    expect(find(root, "g")).toBe(find(root, "f"));
    expect(find(root, "f")).toMatchObject({
      mode: fileType.regular | 0o600,
      uid: 9,
      mtimeSeconds: 8,
    });
    expect(find(root, "f")?.xattrs.map(({ name }) => String(name))).toEqual(["user.kept"]);
  });

  test("refuses hard links to directories and to nothing", async () => {
    expect(build([directory("d"), hardLink("l", "d")])).rejects.toThrow("to a directory");
    expect(build([hardLink("l", "..")])).rejects.toThrow("to a directory");
    expect(build([hardLink("l", "l")])).rejects.toThrow("which is not there");
    expect(build([hardLink("l", "x")], lowerTree({}))).rejects.toThrow("which is not there");
  });

  test("keeps trusted attributes, but for those of overlayfs, and drops unknown ones", async () => {
    const pax = {
      "SCHILY.xattr.trusted.note": "1",
      "SCHILY.xattr.trusted.overlay.redirect": "/etc",
      "SCHILY.xattr.other.space": "2",
      "SCHILY.xattr.user.own": "3",
    };
    const { root } = await build([
      { name: "f", pax },
      { ...symlink("s", "f"), pax },
    ]);
    const names = (path: string) => find(root, path)?.xattrs.map(({ name }) => String(name));
    expect(names("f")).toEqual(["trusted.note", "user.own"]);
    expect(names("s")).toEqual(["trusted.note"]);
  });

  test("keeps times before 1970", async () => {
    const { root } = await build([{ name: "f", pax: { mtime: "-1.000000001" } }]);
    expect(find(root, "f")).toMatchObject({ mtimeSeconds: -2, mtimeNanoseconds: 999_999_999 });
  });

  test("stores content in chunks and holes nowhere", async () => {
    const sink = new MemorySink();
    const content = Buffer.alloc(3 * chunkBytes + 5);
    content.write("data", chunkBytes);
    content.write("end", 3 * chunkBytes);
    const { root, contentBytes } = await build([{ name: "f", content }], undefined, sink);
    const file = find(root, "f");
    if (file?.type !== "file" || file.content.kind !== "chunks") throw new Error("no chunks");
    expect([...(file.content.chunks as Int32Array)]).toEqual([-1, 0, -1, 1]);
    expect(Buffer.concat([...sink.content(file.content, file.sizeBytes)]).equals(content)).toBe(
      true,
    );
    expect(contentBytes).toBe(chunkBytes + 5);
  });

  test("reads a sparse file of a tebibyte at once", async () => {
    const size = 2 ** 40;
    const map = { "GNU.sparse.map": `${size - 3},3`, "GNU.sparse.numblocks": "1" };
    const sink = new MemorySink();
    const tar = rawTar([
      { name: "f", pax: { ...map, "GNU.sparse.size": `${size}` }, content: "end" },
    ]);
    const options = { sink, chunkBytes: 4 * 1024 * 1024 };
    const { tree, contentBytes } = await buildTarTree(pieces(tar), options);
    expect(find(fromFileTree(tree), "f")).toMatchObject({ sizeBytes: size });
    expect([sink.chunks.length, contentBytes]).toEqual([1, 4 * 1024 * 1024]);
  });

  test("refuses files of more chunks than memory should hold", async () => {
    const size = 2 ** 36;
    const map = { "GNU.sparse.map": "", "GNU.sparse.numblocks": "0", "GNU.sparse.major": "0" };
    const pax = { ...map, "GNU.sparse.minor": "1", "GNU.sparse.size": `${size}` };
    expect(build([{ name: "f", pax }])).resolves.toBeDefined();
    expect(
      build([
        { name: "f", pax },
        { name: "g", pax },
      ]),
    ).rejects.toMatchObject({
      code: "unimplemented",
    });
  });

  test("takes many names in one directory", async () => {
    const count = 100_000;
    const { tree } = await buildTarTree(streamed(emptyFiles(count)), {
      sink: new MemorySink(),
      chunkBytes,
    });
    expect([...tree.names.of(tree.root)]).toHaveLength(count);
  });

  test("refuses types it does not know, and a tar that ends early", async () => {
    expect(build([{ name: "v", flag: "V" }])).rejects.toThrow('entries of type "V" are unknown');
    const tar = rawTar([{ name: "f", content: "x".repeat(9000) }]).subarray(0, 5000);
    const options = { sink: new MemorySink(), chunkBytes };
    expect(buildTarTree(pieces(tar), options)).rejects.toMatchObject({ name: "FormatError" });
  });
});

describe("buildTarTree() on a first layer", () => {
  test("deletes what whiteouts name", async () => {
    const { root, hasWhiteouts, dependsOnLower } = await build([
      directory("d"),
      { name: "d/f" },
      { name: "d/.wh.f" },
      { name: ".wh.nothing" },
    ]);
    expect(root.entries.size).toBe(1);
    expect(find(root, "d")).toMatchObject({ entries: new Map() });
    expect([hasWhiteouts, dependsOnLower]).toEqual([true, false]);
  });

  test("keeps what an opaque mark finds of the layer itself", async () => {
    const { root } = await build([
      directory("d"),
      directory("d/e"),
      { name: "d/e/f" },
      { name: "d/implicit/f" },
      { name: "d/.wh..wh..opq" },
    ]);
    expect(find(root, "d/e/f")?.type).toBe("file");
    expect(find(root, "d/implicit")).toBeUndefined();
    expect(find(root, "d")?.xattrs).toEqual([]);
  });

  test("makes missing parents root's, and says that layers below could change that", async () => {
    const { root, dependsOnLower } = await build([{ name: "a/b/f", mtime: 9 }]);
    const expected = { mode: fileType.directory | 0o755, uid: 0, gid: 0, mtimeSeconds: 9 };
    expect(find(root, "a/b")).toMatchObject(expected);
    expect(dependsOnLower).toBe(true);
  });
});

describe("buildTarTree() on other layers", () => {
  test("makes whiteouts device nodes and opaque directories attributes", async () => {
    const { root, dependsOnLower } = await build(
      [
        directory("d"),
        { name: "d/.wh..wh..opq" },
        { name: "d/.wh.f", uid: 5, gid: 6, mode: 0o644 },
      ],
      lowerTree({}),
    );
    expect(find(root, "d/f")).toMatchObject({
      type: "special",
      mode: fileType.characterDevice,
      uid: 5,
      gid: 6,
      deviceMajor: 0,
      deviceMinor: 0,
    });
    const [opaque] = find(root, "d")?.xattrs ?? [];
    expect([String(opaque?.name), String(opaque?.value)]).toEqual(["trusted.overlay.opaque", "y"]);
    expect(dependsOnLower).toBe(false);
  });

  test("refuses whiteouts of nothing and of what the layer has", async () => {
    for (const name of [".wh.", ".wh..", ".wh...", "d/.wh."]) {
      expect(build([{ name }], lowerTree({}))).rejects.toThrow("a whiteout of nothing");
    }
    const entries = [{ name: "f" }, { name: ".wh.f" }];
    expect(build(entries, lowerTree({}))).rejects.toThrow("has what it deletes");
  });

  test("makes missing parents like the directories they cover", async () => {
    const lower = lowerTree({
      a: { type: "directory", xattrs: [xattr("trusted.x"), xattr("user.y")] },
      link: { type: "symlink", target: byteStringOfText("/a") },
      file: { type: "file" },
    });
    const { root, dependsOnLower } = await build(
      [{ name: "a/f" }, { name: "link/f" }, { name: "file/sub/f" }, { name: "new/f" }],
      lower,
    );
    const covered = { mode: fileType.directory | 0o711, uid: 3, gid: 4, mtimeSeconds: 5 };
    expect(find(root, "a")).toMatchObject({ ...covered, xattrs: [xattr("user.y")] });
    expect(find(root, "link")).toMatchObject({ type: "directory", ...covered });
    for (const path of ["file", "file/sub", "new"]) {
      expect(find(root, path)).toMatchObject({ mode: fileType.directory | 0o755, uid: 0 });
    }
    expect(dependsOnLower).toBe(true);
  });

  test("copies a file of the layers below for a hard link, once for all links", async () => {
    const bytes = Buffer.from("below ".repeat(2000));
    const content = {
      isSparse: false,
      nextData: (offset: number) => offset,
      read: (target: Buffer, offset: number) => void bytes.copy(target, 0, offset),
    };
    const lower = lowerTree({
      f: { type: "file", sizeBytes: bytes.length, content, mode: fileType.regular | 0o644 },
      hidden: { type: "directory" },
      "hidden/f": { type: "file", sizeBytes: 0, content, mode: fileType.regular },
    });
    const sink = new MemorySink();
    const entries = [hardLink("one", "f"), hardLink("two", "/f")];
    const { root, dependsOnLower } = await build(entries, lower, sink);
    const file = find(root, "one");
    expect(file).toBe(find(root, "two"));
    if (file?.type !== "file") throw new Error("no file");
    expect(Buffer.concat([...sink.content(file.content, file.sizeBytes)]).equals(bytes)).toBe(true);
    expect(dependsOnLower).toBe(true);
    const hidden = [
      directory("hidden"),
      { name: "hidden/.wh..wh..opq" },
      hardLink("l", "hidden/f"),
    ];
    expect(build(hidden, lower)).rejects.toThrow("which is not there");
  });
});

function xattr(name: string) {
  return { name: byteStringOfText(name), value: new Uint8Array(1) };
}
