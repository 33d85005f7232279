/**
 * What `check` finds, and what would mend it.
 *
 * @module
 */

import type { Database } from "bun:sqlite";
import type { ChunkPlace } from "../store/layout.ts";

export type Repair =
  /** Counts of uses are computed again from what layers use. */
  | { readonly kind: "recount" }
  /** Unused bytes and files are deleted. */
  | { readonly kind: "remove_leftovers" }
  /** A layer no snapshot refers to is deleted. */
  | { readonly kind: "delete_layer"; readonly layerId: number }
  /** Content of the layer is lost: it is forgotten, so that its images are pulled again. */
  | { readonly kind: "give_up_layer"; readonly layerId: number }
  /** A chunk nobody can rely on is forgotten, after the layers that use it. */
  | { readonly kind: "forget_chunk"; readonly place: ChunkPlace };

export interface Finding {
  /** The file, layer, chunk or snapshot. */
  readonly subject: string;
  readonly problem: string;
  /** Nothing helps where there is none. */
  readonly repairs: readonly Repair[];
}

export type Report = (finding: Finding) => void;

/** Layers that use a chunk must go before it, or their image would point to nothing. */
export function repairsOfChunk(database: Database, place: ChunkPlace): Repair[] {
  const layers = database
    .query<{ layer: number }, [number]>("SELECT layer FROM layer_chunks WHERE place = ?")
    .all(place);
  const giveUp = layers.map((row): Repair => ({ kind: "give_up_layer", layerId: row.layer }));
  return [...giveUp, { kind: "forget_chunk", place }];
}
