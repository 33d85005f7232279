/**
 * Which file is which pack, in memory that all threads share: the kernel names files, by inode.
 *
 * @module
 */
import { rowsCount } from "../fuse/pack-table.ts";

export class Watches {
  /** To be posted to the threads. */
  readonly shared: SharedArrayBuffer;
  readonly #inodes: Float64Array;
  readonly #files: Int32Array;
  /** Of this thread; what it says is looked up again. */
  readonly #known = new Map<number, number>();

  constructor(shared?: SharedArrayBuffer) {
    this.shared = shared ?? new SharedArrayBuffer(rowsCount * 12);
    this.#inodes = new Float64Array(this.shared, 0, rowsCount);
    this.#files = new Int32Array(this.shared, rowsCount * 8, rowsCount);
  }

  add(packId: number, inode: number): void {
    this.#inodes[packId] = inode;
  }

  remove(packId: number): void {
    this.#inodes[packId] = 0;
  }

  packOf(inode: number): number | undefined {
    const known = this.#known.get(inode);
    if (known !== undefined && this.#inodes[known] === inode) return known;
    const packId = this.#inodes.indexOf(inode);
    if (packId <= 0) return undefined;
    this.#known.set(inode, packId);
    return packId;
  }

  /** Asks for a descriptor of the pack that raises no events, to be put in the place of `file`. */
  wantSilent(packId: number, file: number): void {
    Atomics.store(this.#files, packId, file + 1);
  }

  /** The descriptor to be replaced, which is the caller's to do then; undefined for none. */
  takeWanted(packId: number): number | undefined {
    if (Atomics.load(this.#files, packId) === 0) return undefined;
    const file = Atomics.exchange(this.#files, packId, 0) - 1;
    return file < 0 ? undefined : file;
  }
}
