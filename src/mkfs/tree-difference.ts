/** Whether two trees are the same layer, with every attribute and all content. */
import type { FileTree } from "../erofs/file-tree.ts";
import type { Inode } from "../erofs/tree.ts";
import { type ByteString, displayName } from "../util/byte-string.ts";
import { toHex } from "../util/bytes.ts";
import type { ContentSpool } from "./content-spool.ts";
import { walkTree } from "./walk-tree.ts";

/** A tree and where its content is. */
type Side = readonly [FileTree, ContentSpool];

/** The first difference, for a message; undefined for equal trees. */
export function differenceOf(expected: Side, actual: Side): string | undefined {
  const [left, right] = [factsOf(expected), factsOf(actual)];
  for (const path of new Set([...left.keys(), ...right.keys()])) {
    const [wanted, found] = [left.get(path) ?? "nothing", right.get(path) ?? "nothing"];
    if (wanted === found) continue;
    return `"${displayName(path)}" should be ${wanted}, but is read as ${found}`;
  }
  return undefined;
}

function factsOf([tree, spool]: Side): Map<ByteString, string> {
  const facts = new Map<ByteString, string>();
  for (const { path, inode, linkOf } of walkTree(tree)) {
    facts.set(path, linkOf === undefined ? describe(inode, spool) : `a link to "${linkOf}"`);
  }
  return facts;
}

function describe(inode: Inode, spool: ContentSpool): string {
  const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs } = inode;
  const names = xattrs.map(({ name, value }) => `${name}=${hashOf([value])}`);
  const common = [mode.toString(8), `${uid}:${gid}`, mtimeSeconds, mtimeNanoseconds, ...names];
  return [...common, contentOf(inode, spool)].join(" ");
}

function contentOf(inode: Inode, spool: ContentSpool): string {
  switch (inode.type) {
    case "directory":
      return "directory";
    case "symlink":
      return `to "${inode.target}"`;
    case "special":
      return `${inode.deviceMajor}:${inode.deviceMinor}`;
    default:
      return `${inode.sizeBytes} bytes ${hashOf(bytesOf(inode, spool))}`;
  }
}

function* bytesOf(
  inode: Inode & { type: "file" },
  spool: ContentSpool,
): Generator<Uint8Array, void> {
  for (const { bytes, sizeBytes } of spool.piecesOf(inode))
    yield bytes ?? new Uint8Array(sizeBytes);
}

function hashOf(pieces: Iterable<Uint8Array>): string {
  const hasher = new Bun.CryptoHasher("sha256");
  for (const piece of pieces) hasher.update(piece);
  return toHex(hasher.digest()).slice(0, 16);
}
