/**
 * The names of a tree, in columns: for each the directory it stands in and the inode it names.
 *
 * A row that was removed keeps its place, and gets it back if the same name comes again.
 *
 * @module
 */
import type { ByteString } from "../util/byte-string.ts";
import { ByteSlabs } from "../util/byte-slabs.ts";
import { columnRowsMin, grownColumn } from "../util/columns.ts";
import { HashIndex } from "../util/hash-index.ts";
import { keyedHash } from "../util/keyed-hash.ts";
import type { InodeRef } from "./inode-table.ts";

/** A name in its directory. */
export type NameRef = number;

export class NameTable {
  readonly #text = new ByteSlabs();
  readonly #byName = new HashIndex();
  #length = 0;
  #addresses = new Uint32Array(columnRowsMin);
  /** A name has at most 255 bytes. */
  #lengths = new Uint8Array(columnRowsMin);
  #directories = new Uint32Array(columnRowsMin);
  /** Plus 1; 0 for a name that was removed. */
  #inodes = new Uint32Array(columnRowsMin);
  /** Of the same directory, plus 1. */
  #nexts = new Uint32Array(columnRowsMin);
  /** By directory, the first of its names, plus 1. */
  #firsts = new Uint32Array(columnRowsMin);

  /** All that were ever added: no more can be in the tree. */
  get length(): number {
    return this.#length;
  }

  find(directory: InodeRef, name: ByteString): InodeRef | undefined {
    const row = this.#rowOf(directory, name, keyedHash(directory, name));
    return row === undefined || this.#inodes[row] === 0 ? undefined : this.#inodes[row]! - 1;
  }

  /** Gives the inode a name, which may have been that of another. */
  set(directory: InodeRef, name: ByteString, inode: InodeRef): void {
    const hash = keyedHash(directory, name);
    const row = this.#rowOf(directory, name, hash) ?? this.#add(directory, name, hash);
    this.#inodes[row] = inode + 1;
  }

  /** Whether it was there. */
  remove(directory: InodeRef, name: ByteString): boolean {
    const row = this.#rowOf(directory, name, keyedHash(directory, name));
    if (row === undefined || this.#inodes[row] === 0) return false;
    this.#inodes[row] = 0;
    return true;
  }

  /** The names in a directory, in no order. */
  *of(directory: InodeRef): Generator<NameRef, void> {
    for (let next = this.#firsts[directory] ?? 0; next !== 0; next = this.#nexts[next - 1]!) {
      if (this.#inodes[next - 1] !== 0) yield next - 1;
    }
  }

  textOf(name: NameRef): ByteString {
    return this.#text.stringAt(this.#addresses[name]!, this.#lengths[name]!) as ByteString;
  }

  inodeOf(name: NameRef): InodeRef {
    return this.#inodes[name]! - 1;
  }

  directoryOf(name: NameRef): InodeRef {
    return this.#directories[name]!;
  }

  #rowOf(directory: InodeRef, name: ByteString, hash: number): NameRef | undefined {
    return this.#byName.find(
      hash,
      (row) =>
        this.#directories[row] === directory &&
        this.#lengths[row] === name.length &&
        this.#text.holdsString(this.#addresses[row]!, name),
    );
  }

  #add(directory: InodeRef, name: ByteString, hash: number): NameRef {
    if (this.#length === this.#lengths.length) this.#grow(2 * this.#length);
    if (directory >= this.#firsts.length) {
      this.#firsts = grownColumn(this.#firsts, Math.max(directory + 1, 2 * this.#firsts.length));
    }
    const row = this.#length++;
    this.#addresses[row] = this.#text.addString(name);
    this.#lengths[row] = name.length;
    this.#directories[row] = directory;
    this.#nexts[row] = this.#firsts[directory]!;
    this.#firsts[directory] = row + 1;
    this.#byName.add(hash, row);
    return row;
  }

  #grow(rows: number): void {
    this.#addresses = grownColumn(this.#addresses, rows);
    this.#lengths = grownColumn(this.#lengths, rows);
    this.#directories = grownColumn(this.#directories, rows);
    this.#inodes = grownColumn(this.#inodes, rows);
    this.#nexts = grownColumn(this.#nexts, rows);
  }
}
