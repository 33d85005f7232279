/** Many lazy packs of many small pieces, for measuring: their content is nowhere. */
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodePieceMap, type Piece } from "../../../src/ondemand/piece-map.ts";
import { MiB } from "../../../src/util/bytes.ts";
import { randomBytes } from "../random.ts";

const blockBytes = 4096;
const sha256Bytes = 32;
const packFileBytes = 128 * MiB;

/** Files of a block, each a piece, all different. */
export function writeSyntheticPack(root: string, packId: number, count: number): void {
  const hashes = randomBytes(`pack ${packId}`, count * sha256Bytes);
  const pieces = Array.from({ length: count }, (_, index): Piece => {
    return {
      packOffsetBytes: index * blockBytes,
      sizeBytes: blockBytes,
      sha256: hashes.subarray(index * sha256Bytes, (index + 1) * sha256Bytes),
      blobOffsetBytes: index * 2000,
      compressedBytes: 2000,
      innerOffsetBytes: 0,
    };
  });
  const origin = {
    format: "estargz" as const,
    image: `registry.invalid/image-${packId}:1`,
    digest: `sha256:${"0".repeat(64)}`,
    blobBytes: count * 2000,
    prefetchEndBytes: 0,
  };
  const folder = join(root, "packs");
  mkdirSync(folder, { recursive: true });
  const stem = join(folder, String(packId));
  writeFileSync(`${stem}.pieces`, encodePieceMap(origin, pieces, count * blockBytes));
  writeFileSync(`${stem}.pack`, "");
  truncateSync(`${stem}.pack`, packFileBytes);
  writeFileSync(`${stem}.exposed`, "");
}
