/**
 * Makes the tree of a layer from the entries of its tar, without unpacking anything.
 *
 * The tree is the one containerd's differ leaves in the upper directory of an overlay
 * (archive/tar.go, `applyNaive` with `OverlayConvertWhiteout`): later entries replace earlier ones,
 * a directory over a directory keeps what is in it, symlinks in paths are followed inside the
 * layer, whiteouts become device nodes. Where containerd refuses a tar, so do we. On purpose
 * different:
 *
 * - times before 1970 and after 2262 stay, where containerd makes them 1970;
 * - what containerd would give the time of unpacking has that of the entry it is made for
 *   (whiteouts, directories no entry describes), so that equal tars make equal layers;
 * - `trusted.*` attributes stay; old GNU sparse files and hard links to files of layers below work.
 *
 * @module
 */
import { AppError, describeError, FormatError } from "../errors.ts";
import { FileTree } from "../erofs/file-tree.ts";
import type { InodeRef } from "../erofs/inode-table.ts";
import { fileType, holeChunk, type ChunkRef } from "../erofs/tree.ts";
import type { TarEntry } from "../tar/entry.ts";
import { displayName, type ByteString } from "../util/byte-string.ts";
import type { ContentOptions } from "./file-content.ts";
import type { LayerTree } from "./directory-tree.ts";
import { TarInodes } from "./tar-inodes.ts";
import { LowerLookup, type LowerTree } from "./tar-lower.ts";
import { objectBytes, pathBytesMax, TarBudget, type TarBudgetOptions } from "./tar-limits.ts";
import { cleanPath, pathError, splitPath } from "./tar-path.ts";
import { TreePaths } from "./tar-tree-paths.ts";
import { dropImplicit, parseWhiteout, type Whiteout } from "./tar-whiteout.ts";
import { TarSource, type TreeSource } from "./tree-source.ts";

export interface TreeOptions extends Pick<ContentOptions, "inline">, TarBudgetOptions {
  /** The layers below; undefined for the first layer, in which whiteouts have nothing to hide. */
  readonly lower?: LowerTree | undefined;
  /** Of the root directory, whose entry in the tar containerd ignores; `mode` as `st_mode`. */
  readonly root?: { readonly mode: number; readonly uid: number; readonly gid: number };
}

export type TarTreeOptions = TreeOptions & ContentOptions;

export interface TarTree extends LayerTree {
  /** Whether the same tar could make another tree on other layers. */
  readonly dependsOnLower: boolean;
  /** Whether the same tar makes another tree if the one is a first layer and the other is not. */
  readonly hasWhiteouts: boolean;
}

const defaultRoot = { mode: fileType.directory | 0o755, uid: 0, gid: 0 };

/**
 * Reads the tar to its end mark; what the stream has behind it is left in it.
 *
 * @param tar the uncompressed tar
 * @throws FormatError (`data_loss`) for what is no tar or ends early, AppError `invalid_argument`
 * for what containerd refuses, `unimplemented` beyond the limits of `tar-limits.ts`
 */
export function buildTarTree(
  tar: AsyncIterable<Uint8Array>,
  options: TarTreeOptions,
): Promise<TarTree> {
  const budget = new TarBudget(options);
  return new EntryTreeBuilder(new TarSource(tar, options, budget), options, budget).build();
}

/** The same of entries that come from anywhere. */
export function buildEntryTree(source: TreeSource, options: TreeOptions): Promise<TarTree> {
  return new EntryTreeBuilder(source, options, new TarBudget(options)).build();
}

interface DirectoryTime {
  readonly name: ByteString;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
}

class EntryTreeBuilder {
  readonly #source: TreeSource;
  readonly #budget: TarBudget;
  readonly #lower: LowerLookup;
  readonly #isFirst: boolean;
  readonly #tree: FileTree;
  readonly #paths: TreePaths;
  readonly #inodes: TarInodes;
  readonly #directoryTimes: DirectoryTime[] = [];
  #hasWhiteouts = false;

  constructor(source: TreeSource, options: TreeOptions, budget: TarBudget) {
    this.#source = source;
    this.#budget = budget;
    this.#tree = new FileTree(options.inline);
    this.#isFirst = options.lower === undefined;
    this.#lower = new LowerLookup(options.lower, budget);
    this.#inodes = new TarInodes(source, this.#tree, budget);
    this.#inodes.makeRoot(options.root ?? defaultRoot);
    this.#paths = new TreePaths(this.#tree, this.#lower, this.#inodes, budget);
  }

  async build(): Promise<TarTree> {
    for (let entry = await this.#source.next(); entry; entry = await this.#source.next()) {
      await this.#apply(entry);
    }
    for (const time of this.#directoryTimes) this.#setDirectoryTime(time);
    if (this.#paths.hasRemoved) this.#source.recount(chunksOf(this.#tree));
    return {
      tree: this.#tree,
      contentBytes: this.#inodes.contentBytes,
      dependsOnLower: this.#lower.wasAsked,
      hasWhiteouts: this.#hasWhiteouts,
    };
  }

  async #apply(entry: TarEntry): Promise<void> {
    this.#budget.charge("entries", 1);
    try {
      await this.#applyEntry(entry);
    } catch (error) {
      if (error instanceof FormatError || !(error instanceof AppError)) throw error;
      const where = `${this.#source.offsetUnit} ${entry.offset} of the layer`;
      const what = `Cannot apply "${shownName(entry.name)}" at ${where}`;
      throw new AppError(error.code, `${what}: ${describeError(error)}`, { cause: error.cause });
    }
  }

  async #applyEntry(entry: TarEntry): Promise<void> {
    refuseLong(entry.name);
    const names = cleanPath(entry.name, "drop");
    const name = names.pop();
    if (name === undefined) return this.#applyRoot(entry);
    const parent = this.#paths.parentOf(names, entry);
    const whiteout = parseWhiteout(name);
    if (whiteout !== undefined) return this.#applyWhiteout(parent, whiteout, entry);
    const present = this.#tree.child(parent, name);
    const isDirectory = present !== undefined && this.#tree.inodes.isDirectory(present);
    if (isDirectory && entry.type === "directory") {
      this.#inodes.setAttributes(present, entry);
      this.#paths.implicit.delete(present);
    } else {
      this.#paths.remove(parent, name);
      if (entry.type === "global records") return;
      const inode = await this.#makeInode(entry);
      this.#paths.add(parent, name, inode);
    }
    if (entry.type !== "directory") return;
    const { mtimeSeconds, mtimeNanoseconds } = entry;
    this.#inodes.charge(entry.name.length + objectBytes);
    this.#directoryTimes.push({ name: entry.name, mtimeSeconds, mtimeNanoseconds });
  }

  /** Containerd ignores it; its time is better than none. */
  #applyRoot(entry: TarEntry): void {
    if (entry.type === "directory") this.#inodes.setTime(this.#tree.root, entry);
  }

  #applyWhiteout(parent: InodeRef, whiteout: Whiteout, entry: TarEntry): void {
    this.#hasWhiteouts = true;
    if (this.#isFirst) return this.#deleteAtOnce(parent, whiteout);
    if (whiteout.kind === "opaque") {
      this.#paths.makeOpaque(parent);
      return;
    }
    // Containerd's mknod(2) does not replace anything.
    if (this.#tree.child(parent, whiteout.name) !== undefined)
      throw pathError("the layer has what it deletes");
    this.#paths.add(parent, whiteout.name, this.#inodes.makeWhiteout(entry));
  }

  #deleteAtOnce(parent: InodeRef, whiteout: Whiteout): void {
    if (whiteout.kind === "name") return this.#paths.remove(parent, whiteout.name);
    const hadRemoved = this.#paths.hasRemoved;
    if (this.#paths.implicit.size === 0) return;
    // At most: it goes through all names in the directory, and through those that were removed.
    this.#budget.charge("steps", this.#tree.names.length);
    if (!dropImplicit(this.#tree, parent, this.#paths.implicit)) return;
    this.#paths.noteRemoval();
    if (!hadRemoved) return;
    // Containerd would keep a directory that an entry made, another deleted, and a third one's path
    // made again. No layer is known to need that, so it is left to containerd.
    throw pathError("an opaque mark after deletions in a first layer");
  }

  async #makeInode(entry: TarEntry): Promise<InodeRef> {
    if (entry.type !== "hard link") return this.#inodes.make(entry);
    const inode = await this.#linkedInode(entry.linkName);
    this.#inodes.setAttributes(inode, entry);
    return inode;
  }

  /** The file a hard link leads to: of this layer, or a copy of one below. */
  async #linkedInode(linkName: ByteString): Promise<InodeRef> {
    refuseLong(linkName);
    const names = splitPath(linkName);
    const last = names.pop() ?? ("" as ByteString);
    const steps = this.#paths.resolve(names);
    // Before a slash at the end, containerd follows the last name too.
    const isFolder = last === "" || last === ".";
    const own = isFolder ? steps.at(-1)?.node : this.#paths.childOf(steps, last);
    if (own !== undefined) {
      if (this.#tree.inodes.isDirectory(own)) throw pathError("a hard link to a directory");
      return own;
    }
    if (isFolder || this.#isFirst || this.#paths.hidesLower(steps)) throw missingTarget(linkName);
    const stepNames = steps.map((step) => step.name);
    const file = this.#lower.findFile(stepNames, last);
    if (file === undefined) throw missingTarget(linkName);
    return this.#inodes.copy(file, [...stepNames, last].join("/"));
  }

  /** Containerd looks every directory up again, by its name and through symlinks. */
  #setDirectoryTime(time: DirectoryTime): void {
    const steps = this.#paths.resolve(cleanPath(time.name, "drop"));
    const last = steps.at(-1);
    const inode = last === undefined ? this.#tree.root : last.node;
    if (inode === undefined) {
      throw pathError(`Directory "${displayName(time.name)}" is gone at the end of the layer`);
    }
    this.#inodes.setTime(inode, time);
  }
}

/** Also where it would be short without its dots: to take it apart takes its time. */
function refuseLong({ length }: ByteString): void {
  if (length > pathBytesMax) throw pathError("the path is too long");
}

/** A name may have a mebibyte; what is shown of it is enough to find it. */
function shownName(name: ByteString): string {
  return displayName(name.slice(0, shownBytesMax) as ByteString);
}

const shownBytesMax = 512;

/** Each use of a chunk in the tree; the names of one file are one use. */
function* chunksOf({ inodes, names, root }: FileTree): Generator<ChunkRef, void> {
  const isSeen = new Uint8Array(inodes.length);
  const pending = [root];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const name of names.of(next)) {
      const inode = names.inodeOf(name);
      if (inodes.isDirectory(inode)) pending.push(inode);
      const chunks = isSeen[inode] === 0 ? inodes.chunksOf(inode)?.chunks : undefined;
      isSeen[inode] = 1;
      if (chunks === undefined) continue;
      for (const ref of typeof chunks === "number" ? [chunks] : chunks) {
        if (ref !== holeChunk) yield ref;
      }
    }
  }
}

function missingTarget(linkName: ByteString): AppError {
  return pathError(`a hard link to "${displayName(linkName)}", which is not there`);
}
