/**
 * A file of a layer, wherever the pieces of its content lie, read as if it came anew.
 *
 * @module
 */
import type { FilePiece } from "../store/layer-files.ts";
import type { LazyContent } from "../store/lazy-content.ts";
import type { VerifiedContent } from "../store/verified-content.ts";
import type { ContentSource } from "./file-content.ts";

export interface StoredPieces {
  readonly content: VerifiedContent;
  /** Undefined where the layer has no lazy pack. */
  readonly lazy: LazyContent | undefined;
}

/**
 * @param pieces all of the file, in order; none of them inline
 * @param spend told how much is going to be read
 */
export function storedFile(
  pieces: readonly FilePiece[],
  stored: StoredPieces,
  spend: (bytes: number) => Promise<void>,
): ContentSource {
  let at = 0;
  return {
    isSparse: false,
    nextData: (offset) => offset,
    async read(target, offset) {
      await spend(target.length);
      const end = offset + target.length;
      while (endOf(pieces[at]!) <= offset) at += 1;
      for (; at < pieces.length && pieces[at]!.fileOffsetBytes < end; at++) {
        const piece = pieces[at]!;
        const from = Math.max(offset, piece.fileOffsetBytes);
        const part = target.subarray(from - offset, Math.min(end, endOf(piece)) - offset);
        fill(part, piece, from - piece.fileOffsetBytes, stored);
        if (endOf(piece) > end) break;
      }
    },
  };
}

function endOf(piece: FilePiece): number {
  const bytes = piece.kind === "chunk" ? piece.chunk.size_bytes : piece.bytes;
  return piece.fileOffsetBytes + bytes;
}

function fill(
  target: Buffer,
  piece: FilePiece,
  skippedBytes: number,
  { content, lazy }: StoredPieces,
): void {
  if (piece.kind === "lazy") {
    lazy?.read(target, piece.block, skippedBytes);
  } else if (piece.kind === "chunk") {
    const bytes = content.read(piece.chunk);
    target.set(bytes.subarray(skippedBytes, skippedBytes + target.length));
  } else {
    target.fill(0);
  }
}
