/**
 * The parts of a tar in another order: what is wanted first, a landmark, the others.
 *
 * @module
 */
import { blockBytes } from "../../tar/format.ts";
import { alignUp } from "../../util/bytes.ts";
import { prefetchLandmark } from "../special-files.ts";
import { readExtraTimes } from "./extra-times.ts";
import { landmarkParts } from "./landmark.ts";
import type { PriorityOrder } from "./priority.ts";
import type { TarItem } from "./tar-items.ts";
import { lazyWriteChunkBytes, type TarPart } from "./tar-parts.ts";
import { tarEnd } from "./tar-header.ts";

/** Reads a tar anywhere; all of `lengthBytes`, in memory of its own. */
export type ReadTar = (offsetBytes: number, lengthBytes: number) => Promise<Buffer>;

export async function* orderedParts(
  { first, others }: PriorityOrder,
  read: ReadTar,
): AsyncGenerator<TarPart, void> {
  for (const item of first) yield* itemParts(item, read);
  yield* landmarkParts(prefetchLandmark);
  for (const item of others) yield* itemParts(item, read);
  yield { kind: "end" };
  yield { kind: "raw", bytes: tarEnd };
}

async function* itemParts(item: TarItem, read: ReadTar): AsyncGenerator<TarPart, void> {
  const { entry, start, contentStart, contentBytes } = item;
  const headers = await read(start, contentStart - start);
  yield { kind: "raw", bytes: headers };
  yield { kind: "entry", entry, times: readExtraTimes(headers) };
  for (let at = 0; at < contentBytes; at += lazyWriteChunkBytes) {
    const bytes = await read(contentStart + at, Math.min(lazyWriteChunkBytes, contentBytes - at));
    yield { kind: "content", bytes, offsetBytes: at, release: () => undefined };
  }
  const paddingBytes = alignUp(contentBytes, blockBytes) - contentBytes;
  if (paddingBytes > 0) yield { kind: "raw", bytes: Buffer.alloc(paddingBytes) };
}
