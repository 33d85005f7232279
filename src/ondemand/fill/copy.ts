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

/**
 * Fills a piece from any of the packs, itself included, and verifies it on the way.
 *
 * @returns false where none has it, or what it has is damaged
 */
export async function copyFromOthers(
  packs: Iterable<FillablePack>,
  target: FillablePack,
  index: number,
): Promise<boolean> {
  const sha256 = target.pieces.sha256Of(index);
  for (const source of packs) {
    const found = source.findPresent(sha256);
    if (found === undefined) continue;
    using _open = source.use();
    if (await copyPiece(source, found, target, index)) return true;
  }
  return false;
}

async function copyPiece(
  source: FillablePack,
  from: number,
  target: FillablePack,
  to: number,
): Promise<boolean> {
  const sha256 = target.pieces.sha256Of(to).slice();
  const sizeBytes = target.pieces.sizeOf(to);
  if (source.pieces.sizeOf(from) !== sizeBytes) return false;
  const buffer = Buffer.allocUnsafeSlow(Math.min(sizeBytes, partBytes));
  const hasher = new Bun.CryptoHasher("sha256");
  for (let at = 0; at < sizeBytes; at += buffer.length) {
    const part = buffer.subarray(0, Math.min(buffer.length, sizeBytes - at));
    const read = await readFully(source.file, part, source.pieces.packOffsetOf(from) + at);
    hasher.update(read);
    await writeFully(target.file, read, target.pieces.packOffsetOf(to) + at);
  }
  return Buffer.compare(hasher.digest(), sha256) === 0;
}
