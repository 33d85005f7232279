/**
 * What a thread knows of the pieces of exposed packs.
 *
 * @module
 */
import { viewOf } from "../../../ffi/mapping.ts";
import { PieceMap } from "../piece-map.ts";
import { PresenceBits } from "../presence.ts";
import type { PackRow } from "./pack-table.ts";

interface PackView {
  readonly epoch: number;
  readonly pieces: PieceMap;
  readonly presence: PresenceBits;
}

export class PackViews {
  readonly #views = new Map<number, PackView>();

  /**
   * Whether no piece of the range is missing; what lies between pieces is zeros. The caller is
   * counted as a user of the pack.
   */
  holds(row: PackRow, offsetBytes: number, lengthBytes: number): boolean {
    if (row.isComplete) return true;
    const { pieces, presence } = this.#viewOf(row);
    const [first, end] = pieces.covering(offsetBytes, lengthBytes);
    return presence.firstMissing(first, end) === undefined;
  }

  #viewOf(row: PackRow): PackView {
    const known = this.#views.get(row.packId);
    if (known?.epoch === row.epoch) return known;
    // Whoever exposed the pack has verified the map.
    const pieces = new PieceMap(viewOf(row.pieces), `pieces of pack ${row.packId}`, true);
    const presence = new PresenceBits(viewOf(row.have), pieces.length);
    const view = { epoch: row.epoch, pieces, presence };
    this.#views.set(row.packId, view);
    return view;
  }
}
