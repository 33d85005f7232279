/**
 * The parts of which a lazy layer is made: those of its tar, and what the format wants beside them.
 *
 * @module
 */
import type { LazyFormat } from "../model.ts";
import { noPrefetchLandmark } from "../special-files.ts";
import { landmarkParts } from "./landmark.ts";
import { orderedParts, type ReadTar } from "./ordered-parts.ts";
import { orderByPriority, type PriorityOrder } from "./priority.ts";
import { listTarItems } from "./tar-items.ts";
import { tracedFiles } from "./traced-files.ts";
import { tarParts, type TarPart } from "./tar-parts.ts";

/** A tar that can be read more than once. */
export interface TarSource {
  stream(): AsyncIterable<Uint8Array>;
  readonly read: ReadTar;
}

export interface LayerParts {
  readonly parts: AsyncIterable<TarPart>;
  /** Of the wanted paths, those the layer has. */
  readonly found: ReadonlySet<string>;
  /** Of the hashes of the trace, those of content that the layer has. */
  readonly known: ReadonlySet<string>;
}

/** What goes first. */
export interface Wanted {
  /** Clean paths (`cleanName`), the most urgent first. */
  readonly wanted: readonly string[];
  /** SHA-256 of chunks (`tracedFiles`), the most urgent first; behind the paths. */
  readonly traced: readonly string[];
}

/**
 * Wanted files go to the front, before a landmark. Where there are none, eStargz has a landmark
 * that says so, and the tar of zstd:chunked stays as it is, byte by byte.
 *
 * @param source only its stream is used, and once, where nothing is wanted
 */
export async function layerParts(
  source: TarSource,
  format: LazyFormat,
  wanted: Wanted,
): Promise<LayerParts> {
  const { order, ...about } = await orderOf(source, wanted);
  if (order !== undefined && order.first.length > 0) {
    return { parts: orderedParts(order, source.read), ...about };
  }
  if (format === "zstd-chunked") return { parts: tarParts(source.stream(), "keep"), ...about };
  return { parts: withoutPrefetch(source), ...about };
}

async function orderOf(
  source: TarSource,
  { wanted, traced }: Wanted,
): Promise<Omit<LayerParts, "parts"> & { readonly order?: PriorityOrder }> {
  if (wanted.length === 0 && traced.length === 0) return { found: new Set(), known: new Set() };
  const items = await listTarItems(source.stream());
  const { paths, found: known } = await tracedFiles(items, traced, source.read);
  const order = orderByPriority(items, [...wanted, ...paths]);
  return { order, found: order.found, known };
}

async function* withoutPrefetch(source: TarSource): AsyncGenerator<TarPart, void> {
  yield* landmarkParts(noPrefetchLandmark);
  yield* tarParts(source.stream(), "leave out");
}
