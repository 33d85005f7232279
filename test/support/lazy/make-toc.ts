/**
 * Tables of contents written down row by row, whether they make sense or not.
 *
 * @module
 */
import { gzipSync } from "node:zlib";
import { makeEstargzFooter } from "../../../src/lazy/estargz/footer.ts";
import { sha256Digest } from "../../../src/util/digest.ts";
import { rawTar } from "../tar/raw-tar.ts";

export type Row = Readonly<Record<string, unknown>>;

/** Where the tables of these tests begin in their blobs. */
export const tocOffset = 100_000;

export const someDigest = `sha256:${"ab".repeat(32)}`;

/** A file of one chunk. */
export function fileRow(name: string, offset: number, size = 10): Row {
  return { type: "reg", name, size, offset, digest: someDigest, chunkDigest: someDigest };
}

export function tocJson(entries: readonly unknown[], more: Row = {}): Buffer {
  return Buffer.from(JSON.stringify({ version: 1, entries, ...more }));
}

/** The end of an eStargz blob: the table, which is also the annotation's, and the footer. */
export function estargzEnd(json: Buffer): { readonly bytes: Buffer; readonly digest: string } {
  const member = gzipSync(rawTar([{ name: "stargz.index.json", content: json }]));
  return {
    bytes: Buffer.concat([member, makeEstargzFooter(tocOffset)]),
    digest: sha256Digest(json),
  };
}
