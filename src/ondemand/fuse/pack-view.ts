/**
 * What a thread knows of the pieces of exposed packs.
 *
 * @module
 */
import { viewOf } from "../../../ffi/mapping.ts";
import { PieceMap } from "../piece-map.ts";
import { PresenceBits } from "../presence.ts";
import type { ReadLog } from "../read-log.ts";
import type { PackRow } from "./pack-table.ts";

interface PackView {
  readonly epoch: number;
  readonly pieces: PieceMap;
  readonly presence: PresenceBits;
  /** A bit for each piece whose first read this thread has noted. */
  readonly noted: Uint8Array;
}

export class PackViews {
  readonly #views = new Map<number, PackView>();

  /**
   * Whether no piece of the range is missing; what lies between pieces is zeros. The caller is
   * counted as a user of the pack.
   *
   * @param reads where it is noted that they are read, if they are
   */
  holds(row: PackRow, offsetBytes: number, lengthBytes: number, reads?: ReadLog): boolean {
    if (row.isComplete) return true;
    const { pieces, presence, noted } = this.#viewOf(row);
    const [first, end] = pieces.covering(offsetBytes, lengthBytes);
    if (presence.firstMissing(first, end) !== undefined) return false;
    if (reads === undefined) return true;
    for (let piece = first; piece < end; piece++) {
      const bit = 1 << (piece & 7);
      if ((noted[piece >>> 3]! & bit) !== 0) continue;
      noted[piece >>> 3]! |= bit;
      reads.note(row.packId, piece);
    }
    return true;
  }

  /** The pieces of a pack; the caller is counted as a user of it. */
  piecesOf(row: PackRow): PieceMap {
    return this.#viewOf(row).pieces;
  }

  #viewOf(row: PackRow): PackView {
    const known = this.#views.get(row.packId);
    if (known?.epoch === row.epoch) return known;
    // Whoever exposed the pack has verified the map.
    const pieces = new PieceMap(viewOf(row.pieces), `pieces of pack ${row.packId}`, true);
    const presence = new PresenceBits(viewOf(row.have), pieces.length);
    const noted = new Uint8Array(Math.ceil(pieces.length / 8));
    const view = { epoch: row.epoch, pieces, presence, noted };
    this.#views.set(row.packId, view);
    return view;
  }
}
