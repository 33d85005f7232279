/**
 * A piece that is too large to be held in memory: it is fetched part by part, decompressed and
 * written as it comes. It counts as present only once all of it has the right hash.
 *
 * @module
 */
import { AppError } from "../../errors.ts";
import { MiB } from "../../util/bytes.ts";
import type { FillablePack } from "../fillable-pack.ts";
import { contentOf } from "./decode.ts";
import { writeFully } from "./file-io.ts";

const partBytes = 4 * MiB;

/**
 * Whether what came was right. Rejects as `read` does, and where writing fails.
 *
 * @param read a range of the blob
 */
export async function fillLargePiece(
  { file, pieces }: FillablePack,
  index: number,
  read: (offsetBytes: number, lengthBytes: number) => Promise<Uint8Array>,
): Promise<boolean> {
  const piece = pieces.at(index);
  const sha256 = piece.sha256.slice();
  const hasher = new Bun.CryptoHasher("sha256");
  let writtenBytes = 0;
  const compressed = partsOf(piece.blobOffsetBytes, piece.compressedBytes, read);
  try {
    for await (const part of contentOf(compressed, piece.innerOffsetBytes, piece.sizeBytes)) {
      hasher.update(part);
      await writeFully(file, part, piece.packOffsetBytes + writtenBytes);
      writtenBytes += part.length;
    }
  } catch (error) {
    if (isOfDecoder(error)) return false;
    throw error;
  }
  return writtenBytes === piece.sizeBytes && Buffer.compare(hasher.digest(), sha256) === 0;
}

async function* partsOf(
  offsetBytes: number,
  lengthBytes: number,
  read: (offsetBytes: number, lengthBytes: number) => Promise<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < lengthBytes; at += partBytes) {
    yield await read(offsetBytes + at, Math.min(partBytes, lengthBytes - at));
  }
}

/** Registries have errors of their own class. */
function isOfDecoder(error: unknown): boolean {
  return error instanceof AppError && error.name === "AppError" && error.code === "data_loss";
}
