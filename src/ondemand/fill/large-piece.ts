/**
 * A piece that is too large to be held in memory: it comes part by part, and is decompressed and
 * written as it comes. It counts as present only once all of it has the right hash.
 *
 * @module
 */
import { AppError } from "../../errors.ts";
import type { FillablePack } from "../fillable-pack.ts";
import { contentOf } from "./decode.ts";
import { writeFully } from "./file-io.ts";

/**
 * Whether what came was right. Rejects as the parts do, and where writing fails.
 *
 * @param compressed the bytes of the blob that hold the piece
 */
export async function fillLargePiece(
  { file, pieces }: FillablePack,
  index: number,
  compressed: AsyncIterable<Uint8Array>,
): Promise<boolean> {
  const piece = pieces.at(index);
  const sha256 = piece.sha256.slice();
  const hasher = new Bun.CryptoHasher("sha256");
  let writtenBytes = 0;
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

/** Registries have errors of their own class. */
function isOfDecoder(error: unknown): boolean {
  return error instanceof AppError && error.name === "AppError" && error.code === "data_loss";
}
