/**
 * Which packs are exposed, in memory that all threads share.
 *
 * A thread that waits for the kernel gets no messages, so it looks here. Descriptors and mappings
 * belong to the process; a thread counts itself as a user of a pack while it touches them, and the
 * owner closes them when the pack was withdrawn and nobody is counted any more.
 *
 * @module
 */
import { type FileMapping, mapFile, unmapFile } from "../../../ffi/mapping.ts";
import { AppError } from "../../errors.ts";
import { assert } from "../../util/assert.ts";
import { crc32c } from "../../util/crc32c.ts";
import type { LazyPack } from "../contract.ts";
import { pieceMapPath } from "../piece-map.ts";
import { presencePaths } from "../presence.ts";
import { ReadLog } from "../read-log.ts";

/** Pack ids are below this; each has a row, 60 bytes that cost nothing until they are used. */
export const rowsCount = 2 ** 15;

/** `complete`: nothing is missing, the pieces are not looked at. */
export const packState = { absent: 0, exposed: 1, complete: 2 } as const;

/** Columns of numbers, a row for each pack: eight bytes wide first, so that all are aligned. */
function columnsOf(shared: SharedTable) {
  const wide = (index: number) => new Float64Array(shared, index * rowsCount * 8, rowsCount);
  const narrow = (index: number) =>
    new Int32Array(shared, (wideCount * 8 + index * 4) * rowsCount, rowsCount);
  return {
    sizeBytes: wide(0),
    piecesAddress: wide(1),
    piecesBytes: wide(2),
    haveAddress: wide(3),
    haveBytes: wide(4),
    state: narrow(0),
    users: narrow(1),
    epoch: narrow(2),
    file: narrow(3),
    generation: narrow(4),
    expected: narrow(5),
  };
}

const wideCount = 5;
const narrowCount = 6;

export type SharedTable = SharedArrayBuffer;

/** What a user of a pack may touch. */
export interface PackRow {
  readonly packId: number;
  /** Another one each time the pack is exposed: what is kept of an older one is void. */
  readonly epoch: number;
  readonly isComplete: boolean;
  readonly file: number;
  readonly generation: number;
  readonly sizeBytes: number;
  readonly pieces: FileMapping;
  readonly have: FileMapping;
}

export class PackTable {
  /** To be posted to the threads. */
  readonly shared: SharedTable;
  /** What is read that is there. */
  readonly reads: ReadLog;
  readonly #columns: ReturnType<typeof columnsOf>;

  constructor(shared?: SharedTable) {
    const sizeBytes = (wideCount * 8 + narrowCount * 4) * rowsCount;
    this.shared = shared ?? new SharedArrayBuffer(sizeBytes + ReadLog.sizeBytes);
    this.reads = new ReadLog(this.shared, sizeBytes);
    this.#columns = columnsOf(this.shared);
  }

  /** Counts the caller as a user, who must `leave`; undefined for a pack that is not exposed. */
  enter(packId: number): PackRow | undefined {
    if (packId < 1 || packId >= rowsCount) return undefined;
    const columns = this.#columns;
    Atomics.add(columns.users, packId, 1);
    const state = Atomics.load(columns.state, packId);
    if (state === packState.absent) {
      this.leave(packId);
      return undefined;
    }
    return {
      packId,
      epoch: columns.epoch[packId]!,
      isComplete: state === packState.complete,
      file: columns.file[packId]!,
      generation: columns.generation[packId]! >>> 0,
      sizeBytes: columns.sizeBytes[packId]!,
      pieces: {
        address: columns.piecesAddress[packId]!,
        lengthBytes: columns.piecesBytes[packId]!,
      },
      have: { address: columns.haveAddress[packId]!, lengthBytes: columns.haveBytes[packId]! },
    };
  }

  leave(packId: number): void {
    const { users, state } = this.#columns;
    const before = Atomics.sub(users, packId, 1);
    if (before === 1 && Atomics.load(state, packId) === packState.absent)
      Atomics.notify(users, packId);
  }

  has(packId: number): boolean {
    return Atomics.load(this.#columns.state, packId) !== packState.absent;
  }

  /** The process before had it exposed: until it is again, nobody is told that it is not. */
  expect(packId: number): void {
    if (packId < rowsCount) Atomics.store(this.#columns.expected, packId, 1);
  }

  /** To be asked before `enter`: then one of the two says yes, also of what is exposed just now. */
  isExpected(packId: number): boolean {
    return packId < rowsCount && Atomics.load(this.#columns.expected, packId) === 1;
  }

  /** It is not to be exposed again. */
  forget(packId: number): void {
    if (packId < rowsCount) Atomics.store(this.#columns.expected, packId, 0);
  }

  /** Ascending. */
  *ids(): Generator<number> {
    for (let packId = 1; packId < rowsCount; packId++) if (this.has(packId)) yield packId;
  }

  /** @throws SyscallError, AppError `resource_exhausted` */
  expose(pack: LazyPack, sizeBytes: number): void {
    const { packId } = pack;
    if (packId < 1 || packId >= rowsCount)
      throw new AppError("resource_exhausted", `Pack ${packId} is beyond ${rowsCount - 1}`);
    assert(!this.has(packId), `pack ${packId} is not exposed`);
    const pieces = mapFile(pieceMapPath(pack.path));
    const have = mapFile(presencePaths(pack.path).have);
    const columns = this.#columns;
    columns.epoch[packId]! += 1;
    columns.file[packId] = pack.file;
    columns.generation[packId] = generationOf(pack);
    columns.sizeBytes[packId] = sizeBytes;
    columns.piecesAddress[packId] = pieces.address;
    columns.piecesBytes[packId] = pieces.lengthBytes;
    columns.haveAddress[packId] = have.address;
    columns.haveBytes[packId] = have.lengthBytes;
    Atomics.store(columns.state, packId, packState.exposed);
    this.forget(packId);
  }

  markComplete(packId: number): void {
    const { exposed, complete } = packState;
    Atomics.compareExchange(this.#columns.state, packId, exposed, complete);
  }

  /** Resolves when no thread touches the pack any more; it is unmapped then. */
  async withdraw(packId: number): Promise<void> {
    const { state, users, piecesAddress, piecesBytes, haveAddress, haveBytes } = this.#columns;
    assert(this.has(packId), `pack ${packId} is exposed`);
    Atomics.store(state, packId, packState.absent);
    for (let count = Atomics.load(users, packId); count > 0;) {
      await Atomics.waitAsync(users, packId, count).value;
      count = Atomics.load(users, packId);
    }
    unmapFile({ address: piecesAddress[packId]!, lengthBytes: piecesBytes[packId]! });
    unmapFile({ address: haveAddress[packId]!, lengthBytes: haveBytes[packId]! });
  }
}

/** A pack id is given again when its layer is gone; two blobs differ in their digests. */
function generationOf({ pieces }: LazyPack): number {
  return crc32c(0xffffffff, Buffer.from(pieces.origin.digest));
}
