/**
 * The tree as numbered inodes and sorted directories: what planning and writing walk over.
 *
 * Inodes are numbered so that the children of a directory follow each other, and the directories of
 * a subtree stay together; the numbers depend on names only, never on the order of insertion. Two
 * names of one inode get one number. The walk keeps its own stack, so a tree may be as deep as it
 * likes. All is columns, for there may be a million inodes.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { type ByteString, compareByteStrings, displayName } from "../util/byte-string.ts";
import { noteRows } from "../util/garbage.ts";
import type { FileTree } from "./file-tree.ts";
import type { InodeRef } from "./inode-table.ts";
import type { NameRef } from "./name-table.ts";

/** A directory as it is written. Made when it is asked for. */
export interface DirectoryIndex {
  /** Sorted bytewise, with `.` and `..`. */
  readonly names: readonly ByteString[];
  /** The number of the inode of each name. */
  readonly children: Uint32Array;
}

const selfName = "." as ByteString;
const parentName = ".." as ByteString;

export class TreeIndex {
  readonly tree: FileTree;
  /** The inodes by their numbers. */
  readonly inodes: Uint32Array;
  /** As `st_nlink`: names of a file; 2 and the subdirectories of a directory. */
  readonly linkCounts: Uint32Array;
  /** The names of each directory, sorted, in a row. */
  readonly #names: Uint32Array;
  /** By number, where the names of a directory begin and how many it has. */
  readonly #starts: Uint32Array;
  readonly #counts: Uint32Array;
  /** By number of a directory, that of the one it is in; the root is its own parent. */
  readonly #parents: Uint32Array;
  /** By inode, its number plus 1; 0 for what is not part of the tree. */
  readonly #numbers: Uint32Array;

  /** Throws AppError `invalid_argument` for a directory of two names. */
  constructor(tree: FileTree) {
    const rows = tree.inodes.length;
    this.tree = tree;
    this.linkCounts = new Uint32Array(rows);
    this.#names = new Uint32Array(tree.names.length);
    this.#starts = new Uint32Array(rows);
    this.#counts = new Uint32Array(rows);
    this.#parents = new Uint32Array(rows);
    this.#numbers = new Uint32Array(rows);
    const inodes = new Uint32Array(rows);
    this.inodes = inodes.subarray(0, this.#walk(inodes));
  }

  directory(number: number): DirectoryIndex {
    const start = this.#starts[number]!;
    const end = start + this.#counts[number]!;
    const names: ByteString[] = [];
    const children = new Uint32Array(end - start + 2);
    const add = (name: ByteString, child: number): void => {
      children[names.length] = child;
      names.push(name);
    };
    const dots = [
      { name: selfName, child: number },
      { name: parentName, child: this.#parents[number]! },
    ];
    for (let at = start; at < end; at++) {
      const name = this.tree.names.textOf(this.#names[at]!);
      while (dots.length > 0 && dots[0]!.name < name) add(dots[0]!.name, dots.shift()!.child);
      add(name, this.#numberOf(this.#names[at]!));
    }
    for (const dot of dots) add(dot.name, dot.child);
    return { names, children };
  }

  /** A path of an inode, for messages; slow. */
  pathOf(number: number): string {
    const { names } = this.tree;
    const parts: string[] = [];
    for (let at = number; at !== 0;) {
      const name = this.#names.find((one) => this.#numberOf(one) === at);
      if (name === undefined) break;
      parts.push(displayName(names.textOf(name)));
      at = this.#numbers[names.directoryOf(name)]! - 1;
    }
    return `/${parts.reverse().join("/")}`;
  }

  /** Fills everything; returns how many inodes there are. */
  #walk(inodes: Uint32Array): number {
    const { inodes: table } = this.tree;
    const pending = [0];
    let named = 0;
    let count = 1;
    inodes[0] = this.tree.root;
    this.#numbers[this.tree.root] = 1;
    for (let number = pending.pop(); number !== undefined; number = pending.pop()) {
      const sorted = this.#sortedNames(inodes[number]!);
      this.#starts[number] = named;
      this.#counts[number] = sorted.length;
      this.#names.set(sorted, named);
      named += sorted.length;
      noteRows(sorted.length);
      // `.` and the name it has in its parent, for which the root has `..`.
      this.linkCounts[number] = 2;
      const subdirectories: number[] = [];
      for (const name of sorted) {
        const inode = this.tree.names.inodeOf(name);
        const isDirectory = table.isDirectory(inode);
        if (this.#numbers[inode] === 0) {
          inodes[count] = inode;
          this.#numbers[inode] = ++count;
          if (isDirectory) subdirectories.push(count - 1);
        } else if (isDirectory) {
          throw this.#secondName(name);
        }
        // A subdirectory is a link to the directory it is in, by its `..`.
        this.linkCounts[isDirectory ? number : this.#numbers[inode]! - 1]! += 1;
      }
      for (const child of subdirectories.reverse()) {
        this.#parents[child] = number;
        pending.push(child);
      }
    }
    return count;
  }

  #sortedNames(directory: InodeRef): NameRef[] {
    const { names } = this.tree;
    const found = Array.from(names.of(directory), (name) => ({ name, text: names.textOf(name) }));
    return found
      .sort((left, right) => compareByteStrings(left.text, right.text))
      .map(({ name }) => name);
  }

  #numberOf(name: NameRef): number {
    return this.#numbers[this.tree.names.inodeOf(name)]! - 1;
  }

  #secondName(name: NameRef): AppError {
    const text = displayName(this.tree.names.textOf(name));
    return new AppError(
      "invalid_argument",
      `Cannot plan image: the directory "${text}" has a second name`,
    );
  }
}
