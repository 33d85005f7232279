/**
 * From the descriptor of a layer and a few of its bytes to a `LazyLayer`. Nothing is read here: who
 * has the blob, or a registry, is told which bytes are needed.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { LazyClaim } from "./annotations.ts";
import { parseEstargzFooter } from "./estargz/footer.ts";
import { readEstargzToc } from "./estargz/read.ts";
import { tocBytesMax } from "./limits.ts";
import type { BlobRange, LazyFormat, LazyLayer } from "./model.ts";
import { tocTooLarge } from "./toc-fields.ts";
import { parseZstdFooter, zstdFooterBytes } from "./zstd-chunked/footer.ts";
import { readZstdToc } from "./zstd-chunked/read.ts";

/** A claim, or what is left of it where nobody vouches for the table. */
export type TocClaim = Pick<LazyClaim, "format"> & Partial<LazyClaim>;

/** The end of the blob, which `tocRange` may need. */
export function footerRange(blobBytes: number): BlobRange {
  const lengthBytes = Math.min(blobBytes, zstdFooterBytes);
  return { offsetBytes: blobBytes - lengthBytes, lengthBytes };
}

/** Which format a blob has by its footer alone; undefined for a blob without. */
export function formatOfFooter(footer: Uint8Array, blobBytes: number): LazyFormat | undefined {
  if (parseEstargzFooter(footer, blobBytes) !== undefined) return "estargz";
  return parseZstdFooter(footer, blobBytes) === undefined ? undefined : "zstd-chunked";
}

/** Whether `tocRange` needs the footer. */
export function needsFooter({ place }: TocClaim): boolean {
  return place === undefined;
}

/**
 * Where the table of contents lies in the blob.
 *
 * @param footer the bytes of `footerRange`, where they are needed
 * @throws AppError `data_loss` where there is no table, `resource_exhausted` for one too large
 */
export function tocRange(claim: TocClaim, blobBytes: number, footer?: Uint8Array): BlobRange {
  const place = claim.place ?? placeInFooter(claim.format, blobBytes, footer);
  if (place === undefined) throw missing(`a blob of ${blobBytes} bytes has no footer`);
  const { offsetBytes, lengthBytes } = place;
  if (offsetBytes + lengthBytes > blobBytes) throw missing(`it lies at byte ${offsetBytes}`);
  if (lengthBytes > tocBytesMax) throw tocTooLarge(`${lengthBytes} bytes`);
  return { offsetBytes, lengthBytes };
}

function placeInFooter(
  format: LazyFormat,
  blobBytes: number,
  footer: Uint8Array | undefined,
): BlobRange | undefined {
  if (footer === undefined) return undefined;
  return format === "estargz"
    ? parseEstargzFooter(footer, blobBytes)?.toc
    : parseZstdFooter(footer, blobBytes);
}

function missing(problem: string): AppError {
  return new AppError("data_loss", `The layer has no table of contents: ${problem}`);
}

/**
 * Reads the table; verified where the claim has its digest.
 *
 * @param toc the bytes of `tocRange`
 * @throws AppError `data_loss` for what is no right table, `resource_exhausted` beyond the limits
 */
export async function readLazyLayer(
  claim: TocClaim,
  range: BlobRange,
  toc: Uint8Array,
): Promise<LazyLayer> {
  return claim.format === "estargz"
    ? readEstargzToc(toc, range.offsetBytes, claim.tocDigest)
    : readZstdToc(toc, range.offsetBytes, claim.tocDigest);
}
