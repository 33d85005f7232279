/** How a blob is compressed, told by its first bytes. */

export type Compression = "none" | "gzip" | "zstd";

/** Bytes needed to tell. */
export const magicBytes = 4;

/** ID1, ID2 and CM of RFC 1952, section 2.3.1. */
const gzipMagic = Buffer.from([0x1f, 0x8b, 0x08]);
/** RFC 8878, section 3.1.1. */
const zstdMagic = 0xfd2fb528;
/** The first of sixteen magic numbers of skippable frames (RFC 8878, section 3.1.2). */
const skippableMagic = 0x184d2a50;

/** @param head the first bytes of the blob, `magicBytes` where it has as many */
export function detectCompression(head: Uint8Array): Compression {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  if (bytes.subarray(0, gzipMagic.length).equals(gzipMagic)) return "gzip";
  if (bytes.length < magicBytes) return "none";
  const magic = bytes.readUInt32LE();
  const isZstd = magic === zstdMagic || (magic & ~0xf) >>> 0 === skippableMagic;
  return isZstd ? "zstd" : "none";
}
