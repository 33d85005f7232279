/**
 * Content that another pack of the node has need not be fetched: siblings of an image share most of
 * theirs, and each lazy layer has a pack of its own.
 *
 * @module
 */
import { MiB } from "../../util/bytes.ts";
import type { FillablePack } from "../fillable-pack.ts";
import { readFully, writeFully } from "./file-io.ts";

const partBytes = MiB;

export interface Copy {
  readonly source: FillablePack;
  readonly piece: number;
}

/** Who has the content of a piece, the pack itself included; undefined for nobody. */
export function findCopy(
  packs: Iterable<FillablePack>,
  target: FillablePack,
  index: number,
): Copy | undefined {
  const sizeBytes = target.pieces.sizeOf(index);
  for (const source of packs) {
    const piece = source.findPresent(target, index);
    if (piece !== undefined && source.pieces.sizeOf(piece) === sizeBytes) return { source, piece };
  }
  return undefined;
}

/**
 * Fills a piece, verified on the way; false where the copy is damaged, or cannot be read from the
 * disk: the content can still be fetched. Rejects where writing fails.
 */
export async function copyPiece(
  { source, piece: from }: Copy,
  target: FillablePack,
  to: number,
): Promise<boolean> {
  using _open = source.use();
  const sha256 = target.pieces.sha256Of(to).slice();
  const sizeBytes = target.pieces.sizeOf(to);
  const buffer = Buffer.allocUnsafeSlow(Math.min(sizeBytes, partBytes));
  const hasher = new Bun.CryptoHasher("sha256");
  for (let at = 0; at < sizeBytes; at += buffer.length) {
    const part = buffer.subarray(0, Math.min(buffer.length, sizeBytes - at));
    const read = await readSource(source, part, source.pieces.packOffsetOf(from) + at);
    if (read === undefined) return false;
    hasher.update(read);
    await writeFully(target.file, read, target.pieces.packOffsetOf(to) + at);
  }
  return Buffer.compare(hasher.digest(), sha256) === 0;
}

async function readSource(
  { file }: FillablePack,
  into: Uint8Array,
  offsetBytes: number,
): Promise<Uint8Array | undefined> {
  try {
    return await readFully(file, into, offsetBytes);
  } catch {
    return undefined;
  }
}
