/**
 * Reading parts of files, and small documents as a whole.
 *
 * @module
 */
import { open, type FileHandle } from "node:fs/promises";
import { AppError } from "../errors.ts";
import type { BlobDescriptor } from "../registry/contract.ts";
import { verifyBlob } from "../registry/verify.ts";
import { KiB, MiB } from "../util/bytes.ts";
import type { FileRange } from "./contract.ts";

/** The decoder hands out pieces as large as it gets, and they pile up until they are collected. */
const pieceBytes = 128 * KiB;
/** Of manifests, indexes and configurations; registries refuse larger manifests than 4 MiB. */
export const documentBytesMax = 16 * MiB;

/** The bytes of the range; who does not read to the end has to end the iteration. */
export async function* readFileRange(range: FileRange): AsyncGenerator<Uint8Array, void> {
  await using file = await open(range.path, "r");
  yield* readPieces(file, range);
}

/** Part of an open file, each piece in memory of its own. */
export async function* readPieces(
  file: FileHandle,
  { offsetBytes, lengthBytes }: Omit<FileRange, "path">,
): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < lengthBytes; at += pieceBytes) {
    yield await readFully(file, offsetBytes + at, Math.min(pieceBytes, lengthBytes - at));
  }
}

/** Part of a file, in memory of its own; rejects with `data_loss` where the file ends before. */
export async function readFully(
  file: FileHandle,
  offsetBytes: number,
  lengthBytes: number,
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(lengthBytes);
  let filled = 0;
  while (filled < lengthBytes) {
    const count = lengthBytes - filled;
    const { bytesRead } = await file.read(bytes, filled, count, offsetBytes + filled);
    if (bytesRead === 0) {
      throw new AppError("data_loss", `A file ends before byte ${offsetBytes + lengthBytes}`);
    }
    filled += bytesRead;
  }
  return bytes;
}

/** All of a small blob, verified; rejects with `resource_exhausted` for one that is not small. */
export async function readDocument(
  blob: BlobDescriptor,
  content: AsyncIterable<Uint8Array>,
): Promise<Buffer> {
  if (blob.sizeBytes > documentBytesMax) {
    const problem = `"${blob.digest}" has ${blob.sizeBytes} bytes, which no manifest needs`;
    throw new AppError("resource_exhausted", problem);
  }
  const pieces: Uint8Array[] = [];
  for await (const piece of verifyBlob(blob, content)) pieces.push(piece);
  return Buffer.concat(pieces);
}
