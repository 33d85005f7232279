/** `dedup-snapshotter chunks`: how often chunks are used, and by which files. */
import { defineCommand } from "citty";
import { AppError } from "../errors.ts";
import { allLayerIds, encodingName, type ChunkRow } from "../store/index-database.ts";
import {
  blockBytes,
  blockOfPlace,
  bundleOffsetOfPlace,
  packOfBlock,
  packOffsetBytes,
} from "../store/layout.ts";
import { contentIndex, filesOf, openImageFile } from "../store/layer-files.ts";
import { imagePath } from "../store/paths.ts";
import { displayName } from "../util/byte-string.ts";
import { toHex } from "../util/bytes.ts";
import { guard, printLine } from "./command.ts";
import { openRoot, type OpenRoot } from "./layer-argument.ts";

export const chunksCommand = defineCommand({
  meta: { name: "chunks", description: "Show how often chunks are used, and by which files" },
  args: {
    sha256: {
      type: "positional",
      description: "Only chunks whose hash starts so",
      required: false,
    },
  },
  run: ({ args }) =>
    guard(async () => {
      await using root = openRoot();
      if (args.sha256 === undefined) printChunks(root);
      else printUsers(root, args.sha256.replace(/^sha256:/, "").toLowerCase());
    }),
});

function printChunk(chunk: ChunkRow): void {
  const block = blockOfPlace(chunk.place);
  const place = `pack=${packOfBlock(block)} offset=${packOffsetBytes(block)}`;
  const storage =
    chunk.blocks === 0
      ? `bundled_at=${bundleOffsetOfPlace(chunk.place)}`
      : `stored=${chunk.blocks * blockBytes}`;
  const encoding = `encoding=${encodingName(chunk.encoding)}`;
  printLine(
    `sha256:${toHex(chunk.sha256)} size=${chunk.size_bytes} uses=${chunk.uses} ${place} ` +
      `${encoding} ${storage}${chunk.stale === 1 ? " stale" : ""}`,
  );
}

/** All chunks, the most used first. */
function printChunks({ database }: OpenRoot): void {
  const chunks = database.query<ChunkRow, []>("SELECT * FROM chunks ORDER BY uses DESC, place");
  for (const chunk of chunks.iterate()) printChunk(chunk);
}

function printUsers(root: OpenRoot, prefix: string): void {
  if (!/^[0-9a-f]{4,64}$/.test(prefix)) {
    throw new AppError("invalid_argument", `"${prefix}" is no start of a SHA-256 in hex`, {
      remedy: "give at least four hex digits",
    });
  }
  const chunks = root.database
    .query<ChunkRow, [string]>("SELECT * FROM chunks WHERE lower(hex(sha256)) GLOB ? || '*'")
    .all(prefix);
  if (chunks.length === 0) throw new AppError("not_found", `No chunk has a hash like "${prefix}"`);
  for (const chunk of chunks) {
    printChunk(chunk);
    for (const layerId of allLayerIds(root.database)) printFilesWith(root, layerId, chunk);
  }
}

function printFilesWith({ database, paths }: OpenRoot, layerId: number, chunk: ChunkRow): void {
  const isUsed = database
    .query("SELECT 1 FROM layer_chunks WHERE layer = ? AND place = ?")
    .get(layerId, chunk.place);
  if (isUsed === null) return;
  using file = openImageFile(imagePath(paths, layerId));
  for (const { path, linkOf, pieces } of filesOf(file.image, contentIndex(database))) {
    if (linkOf !== undefined) continue;
    for (const piece of pieces()) {
      if (piece.kind !== "chunk" || piece.chunk.place !== chunk.place) continue;
      printLine(`  layer=${layerId} offset=${piece.fileOffsetBytes} ${displayName(path)}`);
    }
  }
}
