/**
 * Writes content to packs while the next content is being read and compressed: batches go out in
 * the order they came, each to blocks in a row.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { freeBytes } from "../util/free-bytes.ts";
import { blockBytes, type BlockAddress } from "./layout.ts";
import type { PackWriter } from "./pack-writer.ts";

/** Something to be written, ready when it is compressed. */
export interface PendingWrite {
  /** Whole blocks, in order. */
  readonly pieces: readonly Uint8Array[];
  /** Nobody else has the pieces: they are freed once they are written. */
  readonly ownsPieces: boolean;
  /** Told where the first block is. */
  readonly settle: (block: BlockAddress) => void;
}

/** Gives `count` blocks in a row that nobody else gets. */
export type ReserveBlocks = (count: number) => Promise<BlockAddress>;

export class WriteQueue {
  readonly #writer: Pick<PackWriter, "write">;
  readonly #reserve: ReserveBlocks;
  #tail: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(writer: Pick<PackWriter, "write">, reserve: ReserveBlocks) {
    this.#writer = writer;
    this.#reserve = reserve;
  }

  /** Resolves when the batch is written, or given up because it or one before it failed. */
  add(batch: readonly Promise<PendingWrite>[]): Promise<void> {
    const ready = Promise.all(batch);
    // It may fail before its turn comes, which is when somebody looks at it.
    ready.catch(() => undefined);
    this.#tail = this.#writeAfter(this.#tail, ready);
    return this.#tail;
  }

  /** Resolves when all is written; rejects with the first failure. */
  async drain(): Promise<void> {
    await this.#tail;
    this.throwFailure();
  }

  throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Gives up what is not written; nothing is written any more once this resolves. */
  async close(): Promise<void> {
    this.#failure ??= new AppError("internal", "Content came after the end of its layer");
    await this.#tail;
  }

  /** Never rejects, and waits for what is being written also where this batch has failed. */
  async #writeAfter(before: Promise<void>, ready: Promise<PendingWrite[]>): Promise<void> {
    await before;
    try {
      await this.#write(await ready);
    } catch (error) {
      this.#failure ??= error;
    }
  }

  async #write(writes: readonly PendingWrite[]): Promise<void> {
    const counts = writes.map(({ pieces }) => blocksOf(pieces));
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (total === 0 || this.#failure !== undefined) return;
    let block = await this.#reserve(total);
    await this.#writer.write(
      block,
      writes.flatMap(({ pieces }) => pieces),
    );
    for (const [index, { pieces, ownsPieces, settle }] of writes.entries()) {
      if (ownsPieces) pieces.forEach(freeBytes);
      settle(block);
      block += counts[index]!;
    }
  }
}

function blocksOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0) / blockBytes;
}
