/**
 * Which files of a tar have the content that a trace names.
 *
 * A trace names chunks, of tables of contents that cut files at multiples of the chunk size, as we
 * and the reference writer of eStargz do. A larger file goes first as a whole, so it does where at
 * least half of its chunks are named; where a table was cut otherwise (rolling chunks of
 * zstd:chunked), only files of one chunk are found.
 *
 * @module
 */
import { displayName } from "../../util/byte-string.ts";
import { toHex } from "../../util/bytes.ts";
import type { ReadTar } from "./ordered-parts.ts";
import { cleanName } from "./priority.ts";
import type { TarItem } from "./tar-items.ts";
import { lazyWriteChunkBytes } from "./tar-parts.ts";

export interface TracedFiles {
  /** Clean paths, in the order of the trace. */
  readonly paths: readonly string[];
  /** Those of the hashes that are of this tar. */
  readonly found: ReadonlySet<string>;
}

/** @param hashes SHA-256 of chunks, hexadecimal, the most urgent first */
export async function tracedFiles(
  items: readonly TarItem[],
  hashes: readonly string[],
  read: ReadTar,
): Promise<TracedFiles> {
  const ranks = new Map(hashes.map((hash, rank) => [hash, rank]));
  const found = new Set<string>();
  const files: { path: string; rank: number }[] = [];
  for (const { entry, contentStart, contentBytes } of items) {
    if (contentBytes === 0 || ranks.size === 0) continue;
    const named: number[] = [];
    for (let at = 0; at < contentBytes; at += lazyWriteChunkBytes) {
      const lengthBytes = Math.min(lazyWriteChunkBytes, contentBytes - at);
      const bytes = await read(contentStart + at, lengthBytes);
      const hash = toHex(Bun.SHA256.hash(bytes) as Uint8Array);
      const rank = ranks.get(hash);
      if (rank === undefined) continue;
      named.push(rank);
      found.add(hash);
    }
    const isTraced = named.length * 2 >= Math.ceil(contentBytes / lazyWriteChunkBytes);
    if (!isTraced) continue;
    const path = cleanName(displayName(entry.name));
    files.push({ path, rank: named.reduce((first, rank) => Math.min(first, rank)) });
  }
  files.sort((left, right) => left.rank - right.rank);
  return { paths: files.map(({ path }) => path), found };
}
