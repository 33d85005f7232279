/**
 * The file `<id>.pieces`: what belongs where in a lazy pack, and where it comes from.
 *
 * Little endian: a header of 64 bytes (magic, version, format, counts and lengths), a JSON document
 * (`PieceOrigin`), then 64 bytes for each piece in ascending order of its place in the pack, then
 * the numbers of the pieces in ascending order of their hashes (u32 each), then the SHA-256 of all
 * that. It is mapped, not read into memory: a node has hundreds of such packs, with millions of
 * pieces.
 *
 * @module
 */
import { releasePages } from "../../ffi/memory.ts";
import { AppError, describeError } from "../errors.ts";
import type { LazyFormat } from "../lazy/model.ts";
import { assert } from "../util/assert.ts";
import { alignUp } from "../util/bytes.ts";

/** Where the content of a pack comes from. */
export interface PieceOrigin {
  readonly format: LazyFormat;
  /** As the user named the image: `docker.io/library/debian:12`. */
  readonly image: string;
  /** Of the blob, `sha256:…`. */
  readonly digest: string;
  readonly blobBytes: number;
  /** The author's word on what to fetch first, from the start of the blob; 0 for nothing. */
  readonly prefetchEndBytes: number;
}

export interface Piece {
  readonly packOffsetBytes: number;
  readonly sizeBytes: number;
  /** Of the content, decompressed. */
  readonly sha256: Uint8Array;
  /** Where the gzip member or zstd frame begins that holds it. */
  readonly blobOffsetBytes: number;
  /** Enough of the blob to decompress the piece. */
  readonly compressedBytes: number;
  /** How much of what is decompressed lies before the piece. */
  readonly innerOffsetBytes: number;
}

const magic = 0x73_65_63_65_69_70_64_64n; // "ddpieces"
const version = 1;
const headerBytes = 64;
const recordBytes = 64;
const sha256Bytes = 32;
const u32Max = 2 ** 32 - 1;
const at = { count: 12, originBytes: 16, packBytes: 24 } as const;
const field = {
  packOffset: 0,
  blobOffset: 8,
  inner: 16,
  size: 20,
  compressed: 24,
  sha: 32,
} as const;

/**
 * @param pieces in ascending order of their place, not overlapping
 * @param packBytes the end of the last file in the pack, whole blocks
 */
export function encodePieceMap(
  origin: PieceOrigin,
  pieces: readonly Piece[],
  packBytes: number,
): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(origin));
  const recordsAt = alignUp(headerBytes + json.length, 8);
  const orderAt = recordsAt + pieces.length * recordBytes;
  const bytes = new Uint8Array(orderAt + pieces.length * 4 + sha256Bytes);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, magic, true);
  view.setUint32(8, version, true);
  view.setUint32(at.count, pieces.length, true);
  view.setUint32(at.originBytes, json.length, true);
  view.setBigUint64(at.packBytes, BigInt(packBytes), true);
  bytes.set(json, headerBytes);
  let endBytes = 0;
  for (const [index, piece] of pieces.entries()) {
    assert(piece.packOffsetBytes >= endBytes, "pieces are in order and do not overlap");
    const narrow = [piece.sizeBytes, piece.innerOffsetBytes, piece.compressedBytes];
    assert(Math.max(...narrow) <= u32Max, "sizes of a piece have 32 bits");
    endBytes = piece.packOffsetBytes + piece.sizeBytes;
    writeRecord(view, recordsAt + index * recordBytes, piece);
  }
  assert(endBytes <= packBytes, "pieces lie in the pack");
  const order = Uint32Array.from(pieces.keys());
  order.sort((left, right) => Buffer.compare(pieces[left]!.sha256, pieces[right]!.sha256));
  for (const [index, piece] of order.entries()) view.setUint32(orderAt + index * 4, piece, true);
  const content = bytes.subarray(0, bytes.length - sha256Bytes);
  bytes.set(Bun.SHA256.hash(content) as Uint8Array, content.length);
  return bytes;
}

function writeRecord(view: DataView, start: number, piece: Piece): void {
  view.setBigUint64(start + field.packOffset, BigInt(piece.packOffsetBytes), true);
  view.setBigUint64(start + field.blobOffset, BigInt(piece.blobOffsetBytes), true);
  view.setUint32(start + field.inner, piece.innerOffsetBytes, true);
  view.setUint32(start + field.size, piece.sizeBytes, true);
  view.setUint32(start + field.compressed, piece.compressedBytes, true);
  new Uint8Array(view.buffer).set(piece.sha256, start + field.sha);
}

function damaged(name: string, cause?: unknown): AppError {
  const reason = cause === undefined ? "" : `: ${describeError(cause)}`;
  return new AppError("data_loss", `"${name}" is damaged${reason}`, {
    remedy: "remove the images that use the layer and pull them again",
  });
}

/** `<id>.pieces`, of the pack at `path`, `<id>.pack`. */
export function pieceMapPath(path: string): string {
  return path.replace(/\.pack$/, ".pieces");
}

function isWhole(bytes: Uint8Array, view: DataView): boolean {
  const content = bytes.subarray(0, Math.max(0, bytes.length - sha256Bytes));
  return (
    content.length >= headerBytes &&
    view.getBigUint64(0, true) === magic &&
    view.getUint32(8, true) === version &&
    Buffer.compare(Bun.SHA256.hash(content) as Uint8Array, bytes.subarray(content.length)) === 0
  );
}

export class PieceMap {
  readonly origin: PieceOrigin;
  readonly length: number;
  readonly packBytes: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #recordsAt: number;
  readonly #orderAt: number;

  /**
   * @param bytes the file, mapped
   * @param isVerified this process has made a map of these very bytes before: they are not hashed
   * @throws AppError `data_loss` for anything but what `encodePieceMap` made
   */
  constructor(bytes: Uint8Array, name: string, isVerified = false) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (!isVerified && !isWhole(bytes, view)) throw damaged(name);
    this.#bytes = bytes;
    this.#view = view;
    this.length = view.getUint32(at.count, true);
    this.packBytes = Number(view.getBigUint64(at.packBytes, true));
    const originBytes = view.getUint32(at.originBytes, true);
    const json = bytes.subarray(headerBytes, headerBytes + originBytes);
    this.origin = JSON.parse(new TextDecoder().decode(json)) as PieceOrigin;
    this.#recordsAt = alignUp(headerBytes + originBytes, 8);
    this.#orderAt = this.#recordsAt + this.length * recordBytes;
    const wholeBytes = this.#orderAt + this.length * 4 + sha256Bytes;
    assert(wholeBytes === bytes.length, "the map has its own size");
  }

  /** Maps `<id>.pieces` beside the pack at `packPath`. Throws as the constructor does. */
  static open(packPath: string): PieceMap {
    const path = pieceMapPath(packPath);
    let bytes: Uint8Array;
    try {
      bytes = Bun.mmap(path, { shared: true });
    } catch (cause) {
      throw damaged(path, cause);
    }
    const map = new PieceMap(bytes, path);
    map.release();
    return map;
  }

  /** Lets go of the memory that reading the map took; what is read again comes from the file. */
  release(): void {
    releasePages(this.#bytes);
  }

  at(index: number): Piece {
    const start = this.#record(index);
    const sha = start + field.sha;
    return {
      packOffsetBytes: this.packOffsetOf(index),
      sizeBytes: this.sizeOf(index),
      sha256: this.#bytes.subarray(sha, sha + sha256Bytes),
      blobOffsetBytes: this.blobOffsetOf(index),
      compressedBytes: this.compressedBytesOf(index),
      innerOffsetBytes: this.innerOffsetOf(index),
    };
  }

  packOffsetOf(index: number): number {
    // No BigInt: this is asked some twenty times for each read of a present range.
    const start = this.#record(index) + field.packOffset;
    return this.#view.getUint32(start + 4, true) * 2 ** 32 + this.#view.getUint32(start, true);
  }

  sizeOf(index: number): number {
    return this.#view.getUint32(this.#record(index) + field.size, true);
  }

  blobOffsetOf(index: number): number {
    const start = this.#record(index) + field.blobOffset;
    return this.#view.getUint32(start + 4, true) * 2 ** 32 + this.#view.getUint32(start, true);
  }

  compressedBytesOf(index: number): number {
    return this.#view.getUint32(this.#record(index) + field.compressed, true);
  }

  innerOffsetOf(index: number): number {
    return this.#view.getUint32(this.#record(index) + field.inner, true);
  }

  /** As in the file: it must not be kept, nor posted to a thread. */
  sha256Of(index: number): Uint8Array {
    return this.#hashOf(index);
  }

  /** A word of the hash, little endian: for many hashes, without a view of each. */
  hashWordOf(index: number, word: number): number {
    return this.#view.getUint32(this.#record(index) + field.sha + word * 4, true);
  }

  /** The pieces that hold any of the bytes: `[first, end)`. */
  covering(offsetBytes: number, lengthBytes: number): readonly [number, number] {
    let first = this.#lowerBound(offsetBytes);
    const before = first - 1;
    if (before >= 0 && this.packOffsetOf(before) + this.sizeOf(before) > offsetBytes)
      first = before;
    return [first, this.#lowerBound(offsetBytes + lengthBytes)];
  }

  /**
   * Where the file ends that has a byte of the pack. No file is named here, but its pieces follow
   * each other in the pack and in the blob, and those of an eStargz are of one size, but the last.
   *
   * @param limitBytes how far that matters: beyond, any later offset may be returned
   */
  fileEndOf(offsetBytes: number, limitBytes: number): number {
    let [piece, behind] = this.covering(offsetBytes, 1);
    // What lies between pieces belongs to none.
    if (piece === behind) return offsetBytes;
    const isLast = piece > 0 && this.#isFollowed(piece - 1) && this.#isSmaller(piece, piece - 1);
    if (isLast) return this.#endOf(piece);
    while (this.#endOf(piece) < limitBytes && this.#isFollowed(piece)) {
      piece += 1;
      if (this.#isSmaller(piece, piece - 1)) break;
    }
    return this.#endOf(piece);
  }

  #endOf(piece: number): number {
    return this.packOffsetOf(piece) + this.sizeOf(piece);
  }

  /** Whether the next piece may be of the same file. */
  #isFollowed(piece: number): boolean {
    const next = piece + 1;
    if (next === this.length || this.packOffsetOf(next) !== this.#endOf(piece)) return false;
    const [from, to] = [this.blobOffsetOf(piece), this.blobOffsetOf(next)];
    // Pieces of one gzip member have its offset.
    if (to !== from && to !== from + this.compressedBytesOf(piece)) return false;
    return this.origin.format !== "estargz" || this.sizeOf(next) <= this.sizeOf(piece);
  }

  #isSmaller(piece: number, than: number): boolean {
    return this.origin.format === "estargz" && this.sizeOf(piece) < this.sizeOf(than);
  }

  /** A piece with this content that `accepts` takes; undefined for none. */
  find(sha256: Uint8Array, accepts: (piece: number) => boolean = () => true): number | undefined {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (Buffer.compare(this.#hashOf(this.#ordered(middle)), sha256) < 0) low = middle + 1;
      else high = middle;
    }
    for (; low < this.length; low++) {
      const index = this.#ordered(low);
      if (Buffer.compare(this.#hashOf(index), sha256) !== 0) break;
      if (accepts(index)) return index;
    }
    return undefined;
  }

  /** The first piece that begins at the offset or behind it. */
  #lowerBound(offsetBytes: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.packOffsetOf(middle) < offsetBytes) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #ordered(position: number): number {
    return this.#view.getUint32(this.#orderAt + position * 4, true);
  }

  #hashOf(index: number): Uint8Array {
    const sha = this.#record(index) + field.sha;
    return this.#bytes.subarray(sha, sha + sha256Bytes);
  }

  #record(index: number): number {
    assert(index >= 0 && index < this.length, "a piece of the pack");
    return this.#recordsAt + index * recordBytes;
  }
}
