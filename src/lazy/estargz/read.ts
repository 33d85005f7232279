/**
 * The table of contents of an eStargz blob: a gzip member with a tar of one file.
 *
 * @module
 */
import { gunzipSync } from "node:zlib";
import { TarReader } from "../../tar/reader.ts";
import { KiB } from "../../util/bytes.ts";
import { tocBytesMax } from "../limits.ts";
import type { LazyLayer } from "../model.ts";
import { specialFile } from "../special-files.ts";
import { decodeToc, tocError, tocTooLarge } from "../toc-fields.ts";
import { parseToc } from "../toc.ts";
import { verifyToc } from "../verify-toc.ts";

/** What the tar has beside the table: headers, padding, the end mark. */
const tarBytesMax = 64 * KiB;
const isizeBytes = 4;

/**
 * @param member the blob from the start of the table up to the footer
 * @param digest of the uncompressed JSON; undefined: not verified
 * @throws AppError `data_loss` for what is no table, or not the right one, `resource_exhausted`
 *   beyond the limits
 */
export async function readEstargzToc(
  member: Uint8Array,
  tocOffsetBytes: number,
  digest: string | undefined,
): Promise<LazyLayer> {
  const maxOutputLength = tocBytesMax + tarBytesMax;
  // In one piece, or it would be put together of thousands.
  const chunkSize = Math.min(Math.max(statedBytes(member), KiB), maxOutputLength);
  const tar = decodeToc(() => gunzipSync(member, { maxOutputLength, chunkSize }));
  const json = await readTocFile(tar);
  verifyToc(json, digest);
  return parseToc(json, "estargz", tocOffsetBytes);
}

/** What the end of a gzip member says of its size (RFC 1952, ISIZE); it need not be true. */
function statedBytes(member: Uint8Array): number {
  if (member.length < isizeBytes) return 0;
  const { buffer, byteOffset } = member.subarray(-isizeBytes);
  return new DataView(buffer, byteOffset).getUint32(0, true);
}

async function readTocFile(tar: Uint8Array): Promise<Buffer> {
  const reader = new TarReader(onePiece(tar), { globalRecords: "ignore" });
  const entry = await reader.next();
  if (entry?.type !== "file" || specialFile(entry.name) !== "table of contents") {
    throw tocError("there is another file in its place");
  }
  if (entry.sizeBytes > tocBytesMax) throw tocTooLarge(`${entry.sizeBytes} bytes`);
  const json = Buffer.allocUnsafe(entry.sizeBytes);
  await reader.readContent(json);
  return json;
}

async function* onePiece(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}
