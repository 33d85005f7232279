/**
 * The compact index of a compressed inode: 2 bytes for most blocks of content, where the full one
 * (`cluster-map.ts`) has 8.
 *
 * Entries come in packs, each with one address: of 16 entries in 32 bytes and, up to the first
 * multiple of 32 bytes and behind the last whole pack, of 2 entries in 8 bytes. An entry is 14 or
 * 16 bits, 12 of value below 2 of type; the address is the last 4 bytes. The kernel finds where an
 * extent lies by adding the stored blocks of those before it in the pack to that address
 * (`z_erofs_load_compact_lcluster` in fs/erofs/zmap.c). So extents that begin in one pack must lie
 * in a row, or the file has a full index.
 *
 * @module
 */
import { clusterType, storedBlocksFlag } from "./format.ts";
import type { StoredExtent } from "./stored-extents.ts";

/** Files of more blocks have a full index: what is made here is in memory at once. 1 GiB. */
export const compactBlocksMax = 2 ** 18;

const packBytes = 32;
const addressBytes = 4;
const valueBits = 12;

interface PackKind {
  readonly entries: number;
  readonly sizeBytes: number;
  readonly entryBits: number;
}

const large: PackKind = { entries: 16, sizeBytes: packBytes, entryBits: 14 };
const small: PackKind = { entries: 2, sizeBytes: 8, entryBits: 16 };

interface Pack {
  readonly kind: PackKind;
  /** The block of content of its first entry. */
  readonly first: number;
  /** From the start of the index. */
  readonly offsetBytes: number;
}

/** @param startBytes where the index begins, a multiple of 8; only its place in 32 bytes counts */
function* packsOf(startBytes: number, blocks: number): Generator<Pack, void> {
  const initial = ((packBytes - (startBytes % packBytes)) / addressBytes) & 7;
  const inLarge = Math.max(0, blocks - initial) & ~(large.entries - 1);
  let offsetBytes = 0;
  for (let first = 0; first < blocks;) {
    const isLarge = first >= initial && first < initial + inLarge;
    const kind = isLarge ? large : small;
    yield { kind, first, offsetBytes };
    offsetBytes += kind.sizeBytes;
    first += kind.entries;
  }
}

/** Bytes of the index of a file of so many blocks. */
export function compactIndexBytes(startBytes: number, blocks: number): number {
  let endBytes = 0;
  for (const { kind, offsetBytes } of packsOf(startBytes, blocks)) {
    endBytes = offsetBytes + kind.sizeBytes;
  }
  return endBytes;
}

/** What entries say, by block of content; of those behind the end that they are raw blocks at 0. */
interface Entries {
  readonly types: Uint8Array;
  /** Of `rest`: the stored blocks with their flag behind a head, else the distance to the head. */
  readonly values: Uint16Array;
  /** Of `rest`: the distance to the next head. */
  readonly toNext: Uint16Array;
  /** Of heads. */
  readonly addresses: Uint32Array;
}

function entriesOf(blocks: number, extents: Iterable<StoredExtent>): Entries {
  // The last pack may go past the end.
  const count = blocks + large.entries;
  const types = new Uint8Array(count);
  const values = new Uint16Array(count);
  const toNext = new Uint16Array(count);
  const addresses = new Uint32Array(count);
  let at = 0;
  for (const extent of extents) {
    const isRaw = extent.storedBlocks === extent.blocks;
    for (let block = 0; block < extent.blocks; block++, at++) {
      if (isRaw || block === 0) {
        types[at] = isRaw ? clusterType.plain : clusterType.head;
        addresses[at] = extent.block + block;
        continue;
      }
      types[at] = clusterType.rest;
      values[at] = block === 1 ? extent.storedBlocks | storedBlocksFlag : block;
      toNext[at] = extent.blocks - block;
    }
  }
  return { types, values, toNext, addresses };
}

/**
 * The index of a file of `blocks` (at most `compactBlocksMax`), or undefined where it cannot be
 * told so.
 *
 * @param extents all of the file
 */
export function encodeCompactIndex(
  startBytes: number,
  blocks: number,
  extents: Iterable<StoredExtent>,
): Uint8Array | undefined {
  const entries = entriesOf(blocks, extents);
  const bytes = new Uint8Array(compactIndexBytes(startBytes, blocks));
  for (const pack of packsOf(startBytes, blocks)) {
    if (!writePack(bytes, pack, entries, blocks)) return undefined;
  }
  return bytes;
}

/** @returns false where the extents of the pack do not lie in a row */
function writePack(bytes: Uint8Array, pack: Pack, entries: Entries, blocks: number): boolean {
  const { kind, first, offsetBytes } = pack;
  const { types, values, toNext, addresses } = entries;
  let address: number | undefined;
  let counted = 0;
  for (let index = 0; index < kind.entries && first + index < blocks; index++) {
    const at = first + index;
    const type = types[at]!;
    let value = values[at]!;
    if (type !== clusterType.rest) {
      address ??= addresses[at]! - counted;
      if (address < 0 || address + counted !== addresses[at]) return false;
      if (type === clusterType.plain) counted += 1;
    } else if ((value & storedBlocksFlag) !== 0) {
      counted += value & ~storedBlocksFlag;
    } else if (index === kind.entries - 1) {
      // The distance to the head follows from the entry before.
      value = toNext[at]!;
    }
    writeBits(bytes, offsetBytes * 8 + index * kind.entryBits, (type << valueBits) | value);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(offsetBytes + kind.sizeBytes - addressBytes, address ?? 0, true);
  return true;
}

/** Up to 16 bits, the lowest first, into zeros. */
function writeBits(bytes: Uint8Array, bit: number, value: number): void {
  const shifted = value << (bit & 7);
  for (let at = bit >>> 3, rest = shifted; rest !== 0; at++, rest >>>= 8) {
    bytes[at]! |= rest & 0xff;
  }
}

function readBits(bytes: Uint8Array, bit: number, count: number): number {
  const at = bit >>> 3;
  const all = bytes[at]! | (bytes[at + 1]! << 8) | ((bytes[at + 2] ?? 0) << 16);
  return (all >>> (bit & 7)) & ((1 << count) - 1);
}

/** A block of content that begins an extent, or raw blocks. */
interface Head {
  readonly at: number;
  readonly isPlain: boolean;
  readonly address: number;
}

/**
 * The extents of a file of `blocks`, or undefined where the bytes are not what `encodeCompactIndex`
 * writes for them. Raw blocks come one by one.
 *
 * @param bytes as many as `compactIndexBytes` says
 */
export function decodeCompactIndex(
  bytes: Uint8Array,
  startBytes: number,
  blocks: number,
): StoredExtent[] | undefined {
  const stored = new Map<number, number>();
  const heads = [...readHeads(bytes, startBytes, blocks, stored)];
  const extents = heads.map(({ at, isPlain, address }, index): StoredExtent => {
    const end = heads[index + 1]?.at ?? blocks;
    const storedBlocks = isPlain ? 1 : (stored.get(at) ?? 0);
    return { block: address, storedBlocks, blocks: end - at };
  });
  // This finds every contradiction, also those of which the extents do not tell.
  const expected = encodeCompactIndex(startBytes, blocks, extents);
  const isSame = expected !== undefined && Buffer.compare(expected, bytes) === 0;
  return isSame && heads[0]?.at === 0 ? extents : undefined;
}

/** @param stored is filled: stored blocks by where their extent begins */
function* readHeads(
  bytes: Uint8Array,
  startBytes: number,
  blocks: number,
  stored: Map<number, number>,
): Generator<Head, void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const { kind, first, offsetBytes } of packsOf(startBytes, blocks)) {
    const base = view.getUint32(offsetBytes + kind.sizeBytes - addressBytes, true);
    let counted = 0;
    for (let index = 0; index < kind.entries && first + index < blocks; index++) {
      const entry = readBits(bytes, offsetBytes * 8 + index * kind.entryBits, kind.entryBits);
      const at = first + index;
      const type = entry >>> valueBits;
      const value = entry & ((1 << valueBits) - 1);
      if (type !== clusterType.rest) {
        const isPlain = type === clusterType.plain;
        yield { at, isPlain, address: base + counted };
        if (isPlain) counted += 1;
      } else if ((value & storedBlocksFlag) !== 0) {
        counted += value & ~storedBlocksFlag;
        stored.set(at - 1, value & ~storedBlocksFlag);
      }
    }
  }
}
