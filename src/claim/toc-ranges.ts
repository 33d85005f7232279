/**
 * The table of contents of a layer, read by as few ranges of its blob as it takes.
 *
 * @module
 */
import type { BlobRange } from "../lazy/model.ts";
import { footerRange, formatOfFooter, needsFooter, tocRange, type TocClaim } from "../lazy/open.ts";
import type { RegistryClient, Reference } from "../registry/contract.ts";
import { rangeBytesMax } from "../registry/limits.ts";
import { KiB } from "../util/bytes.ts";

/** Reads a part of the blob; not verified. */
export type ReadRange = (range: BlobRange) => Promise<Uint8Array>;

export interface TocBytes {
  readonly claim: TocClaim;
  readonly range: BlobRange;
  readonly toc: Uint8Array;
}

/**
 * What is read at once where only the footer says where the table lies: enough for the table of
 * some hundred files. A larger one costs another request, which all layers of an image make at the
 * same time; to guess a larger end would read content of most layers for nothing.
 */
const tailBytes = 8 * KiB;

/** Called with the size of a table before it is read; false: it is not read. */
export type Admit = (sizeBytes: number) => Promise<boolean>;

/**
 * @param claim what the manifest vouches for; undefined: whatever the footer says
 * @returns `absent` for a blob without a footer of ours, `refused` where `admit` said no
 */
export async function readToc(
  blobBytes: number,
  claim: TocClaim | undefined,
  read: ReadRange,
  admit: Admit,
): Promise<TocBytes | "absent" | "refused"> {
  if (claim !== undefined && !needsFooter(claim)) {
    const range = tocRange(claim, blobBytes);
    if (!(await admit(range.lengthBytes))) return "refused";
    return { claim, range, toc: await read(range) };
  }
  const tail = tailRange(blobBytes);
  const end = await read(tail);
  const footer = end.subarray(footerRange(blobBytes).offsetBytes - tail.offsetBytes);
  const found = claim ?? claimOfFooter(footer, blobBytes);
  if (found === undefined) return "absent";
  const range = tocRange(found, blobBytes, footer);
  if (!(await admit(range.lengthBytes))) return "refused";
  return { claim: found, range, toc: await completeTail(range, tail, end, read) };
}

function claimOfFooter(footer: Uint8Array, blobBytes: number): TocClaim | undefined {
  const format = formatOfFooter(footer, blobBytes);
  return format === undefined ? undefined : { format };
}

function tailRange(blobBytes: number): BlobRange {
  const lengthBytes = Math.min(blobBytes, tailBytes);
  return { offsetBytes: blobBytes - lengthBytes, lengthBytes };
}

/** The bytes of a range of which the end of the blob has been read. */
async function completeTail(
  range: BlobRange,
  tail: BlobRange,
  end: Uint8Array,
  read: ReadRange,
): Promise<Uint8Array> {
  const endBytes = range.offsetBytes + range.lengthBytes;
  const missingBytes = tail.offsetBytes - range.offsetBytes;
  if (endBytes <= tail.offsetBytes) return read(range);
  const known = end.slice(Math.max(0, -missingBytes), endBytes - tail.offsetBytes);
  if (missingBytes <= 0) return known;
  const head = await read({ offsetBytes: range.offsetBytes, lengthBytes: missingBytes });
  return Buffer.concat([head, known]);
}

/** Reads a blob of a registry, whatever the size of the range. */
export function registryRanges(
  client: RegistryClient,
  reference: Reference,
  digest: string,
  signal: AbortSignal,
): ReadRange {
  return async ({ offsetBytes, lengthBytes }) => {
    const parts: Uint8Array[] = [];
    for (let at = 0; at < lengthBytes; at += rangeBytesMax) {
      const count = Math.min(rangeBytesMax, lengthBytes - at);
      parts.push(await client.blobRange(reference, digest, offsetBytes + at, count, { signal }));
    }
    return parts.length === 1 ? (parts[0] ?? new Uint8Array(0)) : Buffer.concat(parts);
  };
}
