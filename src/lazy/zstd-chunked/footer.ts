/**
 * The end of a zstd:chunked blob: a skippable frame (RFC 8878, section 3.1.2) that says where the
 * table of contents lies, in one of two dialects.
 *
 * ```
 * 50 2a 4d 18 | length | payload: u64 numbers in little-endian order, the last one a magic number
 * containers/storage (minimal/compression.go), 64 bytes: offset, compressed and uncompressed
 *     length, type of the table; offset, compressed and uncompressed length of the tar-split data
 * stargz-snapshotter (zstdchunked.go), 40 bytes: offset, both lengths, type
 * ```
 *
 * @module
 */
import { FormatError } from "../../errors.ts";
import { tocType, type ZstdPlace } from "./position.ts";

const numberBytes = 8;
const skippableMagic = 0x184d2a50;
export const frameHeaderBytes = 8;

const containersMagic = Buffer.from("GNUlInUx");
const stargzMagic = Buffer.from("GnUlInUx");
const containersPayloadBytes = 64;
const stargzPayloadBytes = 40;

/** Enough of the end of the blob for both dialects. */
export const zstdFooterBytes = frameHeaderBytes + containersPayloadBytes;

/**
 * Where the table lies; undefined for a blob without a footer.
 *
 * @param tail the last bytes of the blob, `zstdFooterBytes` where it has as many
 * @throws FormatError for a footer that leads out of the blob
 */
export function parseZstdFooter(tail: Uint8Array, blobBytes: number): ZstdPlace | undefined {
  const bytes = Buffer.from(tail.buffer, tail.byteOffset, tail.byteLength);
  const payload =
    payloadOf(bytes, containersPayloadBytes, containersMagic) ??
    payloadOf(bytes, stargzPayloadBytes, stargzMagic);
  if (payload === undefined) return undefined;
  const start = blobBytes - payload.length - frameHeaderBytes;
  const number = (index: number) => Number(payload.readBigUInt64LE(index * numberBytes));
  const place = { offsetBytes: number(0), lengthBytes: number(1), uncompressedBytes: number(2) };
  if (place.offsetBytes + place.lengthBytes > start || number(3) !== tocType) {
    const problem = `a table of ${place.lengthBytes} bytes at ${place.offsetBytes}`;
    throw new FormatError("zstd:chunked footer", start, problem);
  }
  return place;
}

function payloadOf(tail: Buffer, payloadBytes: number, magic: Buffer): Buffer | undefined {
  const start = tail.length - payloadBytes - frameHeaderBytes;
  if (start < 0 || tail.readUInt32LE(start) !== skippableMagic) return undefined;
  if (tail.readUInt32LE(start + 4) !== payloadBytes) return undefined;
  const payload = tail.subarray(start + frameHeaderBytes);
  return payload.subarray(payloadBytes - magic.length).equals(magic) ? payload : undefined;
}

/** A frame that decoders pass over; `content` has at most 4 GiB. */
export function skippableFrame(content: Uint8Array): Buffer {
  const header = Buffer.alloc(frameHeaderBytes);
  header.writeUInt32LE(skippableMagic);
  header.writeUInt32LE(content.length, 4);
  return Buffer.concat([header, content]);
}

/** The frame at the end, as containers/storage writes it. */
export function makeZstdFooter(toc: ZstdPlace, tarSplit: ZstdPlace): Buffer {
  const payload = Buffer.alloc(containersPayloadBytes);
  const places = [toc.offsetBytes, toc.lengthBytes, toc.uncompressedBytes, tocType];
  const split = [tarSplit.offsetBytes, tarSplit.lengthBytes, tarSplit.uncompressedBytes];
  for (const [index, number] of [...places, ...split].entries()) {
    payload.writeBigUInt64LE(BigInt(number), index * numberBytes);
  }
  payload.set(containersMagic, containersPayloadBytes - containersMagic.length);
  return skippableFrame(payload);
}
