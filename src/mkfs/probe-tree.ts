/**
 * A small layer with everything in it that a program that makes images may get wrong in silence.
 * What it fails at, such as 1.5 at names of 255 bytes, costs a layer its builder, nothing more.
 *
 * @module
 */
import { FileTree } from "../erofs/file-tree.ts";
import type { InodeRef } from "../erofs/inode-table.ts";
import { type Directory, fileType, type Inode, noXattrs, type Xattr } from "../erofs/tree.ts";
import type { LayerTree } from "../layer/directory-tree.ts";
import { type ContentOptions, type ContentSource, storeContent } from "../layer/file-content.ts";
import { byteString, byteStringOfText } from "../util/byte-string.ts";
import { KiB } from "../util/bytes.ts";

const attributes = { uid: 0, gid: 0, mtimeSeconds: 0, mtimeNanoseconds: 0, xattrs: noXattrs };
const directory: Directory = {
  type: "directory",
  ...attributes,
  mtimeSeconds: 1_000_000_000,
  mode: fileType.directory | 0o1755,
};

/** @param options where the content of its files goes */
export async function probeTree(options: ContentOptions): Promise<LayerTree> {
  const tree = new FileTree(options.inline);
  const root = tree.add(directory);
  const folder = tree.add(directory);
  const file = tree.add(await fileOf(repeated(300 * KiB), options));
  const add = (parent: InodeRef, inodes: Readonly<Record<string, Inode>>): void => {
    for (const [name, inode] of Object.entries(inodes)) {
      tree.link(parent, byteStringOfText(name), tree.add(inode));
    }
  };
  tree.link(root, byteStringOfText("folder"), folder);
  tree.link(root, byteStringOfText("first"), file);
  tree.link(folder, byteStringOfText("again"), file);
  tree.link(root, byteString(Uint8Array.of(0x61, 0xff, 0xfe)), tree.add(symlinkTo("no text")));
  add(folder, {
    twin: await fileOf(repeated(300 * KiB), options),
    tail: await fileOf(repeated(5000), options),
    random: await fileOf(crypto.getRandomValues(new Uint8Array(20 * KiB)), options),
    empty: await fileOf(new Uint8Array(0), options),
  });
  add(root, {
    opaque: { ...directory, xattrs: [xattr("trusted.overlay.opaque", Buffer.from("y"))] },
    whiteout: special(fileType.characterDevice, 0, 0),
    device: special(fileType.blockDevice | 0o640, 511, 70_000),
    fifo: special(fileType.fifo | 0o604, 0, 0),
    symlink: symlinkTo("../folder/again"),
    long: symlinkTo("x".repeat(4000)),
    "\u{e9}\u{1f600}": symlinkTo("\u{e9}"),
    ["n".repeat(200)]: symlinkTo("n"),
  });
  return { tree, contentBytes: 0 };
}

/** A file with all attributes that a file can have; those of others are the simple ones. */
async function fileOf(bytes: Uint8Array, options: ContentOptions): Promise<Inode> {
  const source: ContentSource = {
    isSparse: false,
    nextData: (offset) => offset,
    read: (target, offset) => target.set(bytes.subarray(offset, offset + target.length)),
  };
  const { content } = await storeContent(source, bytes.length, options);
  return {
    type: "file",
    mode: fileType.regular | 0o6751,
    uid: 0xffff_fffe,
    gid: 70_000,
    mtimeSeconds: bytes.length % 2 === 0 ? 2 ** 32 + 7 : -7,
    mtimeNanoseconds: bytes.length % 2 === 0 ? 7 : 0,
    xattrs: [
      xattr("trusted.note", Buffer.from("\0=\n\xff", "latin1")),
      xattr("user.large", Buffer.alloc(3000, "v")),
    ],
    sizeBytes: bytes.length,
    content,
  };
}

function xattr(name: string, value: Uint8Array): Xattr {
  return { name: byteStringOfText(name), value };
}

function repeated(sizeBytes: number): Uint8Array {
  return Buffer.alloc(sizeBytes, "what repeats compresses well; ");
}

function special(mode: number, deviceMajor: number, deviceMinor: number): Inode {
  return { type: "special", ...attributes, mode, deviceMajor, deviceMinor };
}

function symlinkTo(target: string): Inode {
  return {
    type: "symlink",
    ...attributes,
    mode: fileType.symlink | 0o777,
    mtimeNanoseconds: 999_999_999,
    target: byteStringOfText(target),
  };
}
