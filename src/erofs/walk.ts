/**
 * Walking the tree of an image, which may be corrupt: the walk ends, and ends in bounded time.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import type { ByteString } from "../util/byte-string.ts";
import { direntFileType } from "./directory-blocks.ts";
import { blockSizeBytes } from "./format.ts";
import type { ErofsImage } from "./open-image.ts";
import { directoryEntries, type DirectoryEntry } from "./read-directory.ts";
import { type ImageInode, isOfType, readInode } from "./read-inode.ts";

export interface WalkedEntry {
  /** From the root: `/`, `/etc`, `/etc/passwd`. */
  readonly path: ByteString;
  readonly inode: ImageInode;
  /** Where the walk met the same inode before, for further names of a file. */
  readonly linkOf: ByteString | undefined;
}

/** Deeper than PATH_MAX allows to name at once; each level costs one open directory block. */
const treeDepthMax = 16_384;

interface Level {
  readonly path: string;
  readonly directory: ImageInode;
  readonly parentNid: number;
  readonly entries: Generator<DirectoryEntry, void>;
  dotNames: number;
}

/**
 * Every name of the image, a directory before what it holds. Throws FormatError for directories
 * that form no tree, and for a dirent that disagrees with its inode.
 */
export function* walkImage(image: ErofsImage): Generator<WalkedEntry, void> {
  const { rootNid } = image.superblock;
  const root = readInode(image, rootNid);
  if (!isOfType(root, "directory")) throw malformed(root, "the root is no directory");
  const descent = new Descent(image);
  const firstPaths = new Map<number, ByteString>();
  yield { path: "/" as ByteString, inode: root, linkOf: undefined };
  descent.enter(root, "", rootNid);
  for (let next = descent.next(); next !== undefined; next = descent.next()) {
    const { level, entry } = next;
    const inode = readInode(image, entry.nid);
    if (direntFileType(inode.mode) !== entry.fileType) {
      throw malformed(level.directory, `file type ${entry.fileType} of a name is not its inode's`);
    }
    const path = `${level.path}/${entry.name}` as ByteString;
    const linkOf = firstPaths.get(entry.nid);
    const isDirectory = isOfType(inode, "directory");
    if (!isDirectory && inode.linkCount > 1 && linkOf === undefined) {
      firstPaths.set(entry.nid, path);
    }
    yield { path, inode, linkOf };
    if (isDirectory) descent.enter(inode, path, level.directory.nid);
  }
}

/** The open directories, from the root down to where the walk is. */
class Descent {
  readonly #image: ErofsImage;
  readonly #levels: Level[] = [];
  readonly #entered = new Set<number>();
  /**
   * Directories of a sound image do not overlap, so all their content is less than the image. A
   * corrupt one could else let each of its directories claim the whole image.
   */
  #contentBytesLeft: number;

  constructor(image: ErofsImage) {
    this.#image = image;
    this.#contentBytesLeft = image.superblock.blocks * blockSizeBytes;
  }

  enter(directory: ImageInode, path: string, parentNid: number): void {
    const { nid, sizeBytes } = directory;
    if (this.#entered.has(nid)) throw malformed(directory, "the directory has a second name");
    if (this.#levels.length === treeDepthMax) throw malformed(directory, "the tree is too deep");
    this.#contentBytesLeft -= sizeBytes;
    if (this.#contentBytesLeft < 0) throw malformed(directory, "directories overlap");
    this.#entered.add(nid);
    const entries = directoryEntries(this.#image, directory);
    this.#levels.push({ path, directory, parentNid, entries, dotNames: 0 });
  }

  /** The next entry that is neither `.` nor `..`; undefined after the last. */
  next(): { level: Level; entry: DirectoryEntry } | undefined {
    for (let level = this.#levels.at(-1); level !== undefined; level = this.#levels.at(-1)) {
      const { value: entry, done } = level.entries.next();
      if (done === true || entry === undefined) {
        if (level.dotNames !== 2) throw malformed(level.directory, "`.` or `..` is missing");
        this.#levels.pop();
      } else if (entry.name === "." || entry.name === "..") {
        const expected = entry.name === "." ? level.directory.nid : level.parentNid;
        if (entry.nid !== expected) throw malformed(level.directory, `"${entry.name}" is wrong`);
        level.dotNames++;
      } else {
        return { level, entry };
      }
    }
    return undefined;
  }
}

function malformed({ nid, xattrOffsetBytes }: ImageInode, problem: string): FormatError {
  return new FormatError(`EROFS directory of nid ${nid}`, xattrOffsetBytes, problem);
}
