import { describe, expect, test } from "bun:test";
import { FileTree } from "../../../src/erofs/file-tree.ts";
import { holeChunk } from "../../../src/erofs/tree.ts";
import { TreeIndex } from "../../../src/erofs/tree-index.ts";
import { byteString, byteStringOfText } from "../../../src/util/byte-string.ts";
import { chunkedFile, directory, inlineFile, special, symlink, xattr } from "./make-tree.ts";

function emptyTree(): FileTree {
  const tree = new FileTree();
  tree.add(directory());
  return tree;
}

function namesOf(tree: FileTree, inode = tree.root): string[] {
  return [...tree.names.of(inode)].map((name) => String(tree.names.textOf(name))).sort();
}

const name = byteStringOfText("name");
const other = byteStringOfText("other");

describe("FileTree", () => {
  test("gives back inodes of each kind as they were", () => {
    const tree = emptyTree();
    const inodes = [
      inlineFile("content", { uid: 2 ** 32 - 1, mtimeSeconds: -7, mtimeNanoseconds: 999_999_999 }),
      inlineFile(""),
      chunkedFile(2 ** 40, 2 ** 40, 3, { xattrs: [xattr("user.a", "b")] }),
      chunkedFile(5000, 8192, holeChunk),
      chunkedFile(9000, 4096, [4, holeChunk, 5]),
      symlink("../target"),
      special("blockDevice", 4095, 2 ** 20 - 1),
      special("fifo"),
    ];
    const refs = inodes.map((inode) => tree.add(inode));
    expect(refs.map((ref) => tree.inodes.get(ref))).toEqual(inodes);
  });

  test("finds, replaces and removes names", () => {
    const tree = emptyTree();
    const [first, second] = [tree.add(inlineFile("1")), tree.add(inlineFile("2"))];
    tree.link(tree.root, name, first);
    expect(tree.child(tree.root, name)).toBe(first);
    tree.link(tree.root, name, second);
    expect(tree.child(tree.root, name)).toBe(second);
    expect(tree.unlink(tree.root, name)).toBe(true);
    expect(tree.unlink(tree.root, name)).toBe(false);
    expect(tree.child(tree.root, name)).toBeUndefined();
    tree.link(tree.root, other, first);
    tree.link(tree.root, name, first);
    expect(namesOf(tree)).toEqual(["name", "other"]);
  });

  test("keeps the same name in different directories apart", () => {
    const tree = emptyTree();
    const refs = Array.from({ length: 3000 }, () => tree.add(directory()));
    for (const ref of refs) tree.link(ref, name, tree.add(inlineFile("")));
    const children = refs.map((ref) => tree.child(ref, name));
    expect(new Set(children).size).toBe(refs.length);
    expect(tree.child(tree.root, name)).toBeUndefined();
  });

  test("takes names of any bytes but slash and NUL", () => {
    const tree = emptyTree();
    const strange = byteString(
      Uint8Array.from({ length: 254 }, (_, at) => (at + 1 === 47 ? 1 : at + 1)),
    );
    tree.link(tree.root, strange, tree.add(inlineFile("")));
    expect(tree.child(tree.root, strange)).toBe(1);
    expect(namesOf(tree)).toEqual([strange]);
  });

  test("changes attributes, and refuses those that Linux has not", () => {
    const tree = emptyTree();
    const file = tree.add(inlineFile("content"));
    tree.inodes.setAttributes(file, inlineFile("", { uid: 7 }));
    expect(tree.inodes.get(file)).toMatchObject({ uid: 7, sizeBytes: 7 });
    expect(() => tree.inodes.setAttributes(file, inlineFile("", { uid: 2 ** 32 }))).toThrow("uid");
    expect(tree.inodes.uidOf(file)).toBe(7);
  });
});

describe("TreeIndex", () => {
  test("leaves out what no name leads to, and says paths", () => {
    const tree = emptyTree();
    const [kept, dropped] = [tree.add(directory()), tree.add(directory())];
    const file = tree.add(inlineFile(""));
    tree.link(tree.root, name, kept);
    tree.link(tree.root, other, dropped);
    tree.link(dropped, name, file);
    tree.link(kept, other, file);
    tree.unlink(tree.root, other);
    const index = new TreeIndex(tree);
    expect([...index.inodes]).toEqual([tree.root, kept, file]);
    expect([...index.linkCounts.subarray(0, 3)]).toEqual([3, 2, 1]);
    expect(index.pathOf(2)).toBe("/name/other");
    expect(index.directory(0).names.map(String)).toEqual([".", "..", "name"]);
  });

  test("puts . and .. where they belong among names", () => {
    const tree = emptyTree();
    for (const text of ["!", "-", "...", ".a", "0", ".\x01", "z"]) {
      tree.link(tree.root, byteStringOfText(text), tree.add(inlineFile("")));
    }
    const { names, children } = new TreeIndex(tree).directory(0);
    expect(names.map(String)).toEqual([...names].map(String).sort());
    expect(names).toHaveLength(9);
    expect(names.map((one, at) => one === "." || one === ".." || children[at]! > 0)).not.toContain(
      false,
    );
  });
});
