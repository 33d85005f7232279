/**
 * The parts of which a lazy layer is made: those of its tar, and what the format wants beside them.
 *
 * @module
 */
import type { LazyFormat } from "../model.ts";
import { noPrefetchLandmark } from "../special-files.ts";
import { landmarkParts } from "./landmark.ts";
import { orderedParts, type ReadTar } from "./ordered-parts.ts";
import { orderByPriority } from "./priority.ts";
import { listTarItems } from "./tar-items.ts";
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
}

/**
 * Wanted files go to the front, before a landmark. Where there are none, eStargz has a landmark
 * that says so, and the tar of zstd:chunked stays as it is, byte by byte.
 *
 * @param source only its stream is used, and once, where nothing is wanted
 * @param wanted clean paths (`cleanName`), the most urgent first
 */
export async function layerParts(
  source: TarSource,
  format: LazyFormat,
  wanted: readonly string[],
): Promise<LayerParts> {
  const order =
    wanted.length === 0 ? undefined : orderByPriority(await listTarItems(source.stream()), wanted);
  const found = order?.found ?? new Set<string>();
  if (order !== undefined && order.first.length > 0) {
    return { parts: orderedParts(order, source.read), found };
  }
  if (format === "zstd-chunked") return { parts: tarParts(source.stream(), "keep"), found };
  return { parts: withoutPrefetch(source), found };
}

async function* withoutPrefetch(source: TarSource): AsyncGenerator<TarPart, void> {
  yield* landmarkParts(noPrefetchLandmark);
  yield* tarParts(source.stream(), "leave out");
}
