/** `dedup-snapshotter files`: which chunks the files of a layer consist of. */
import { defineCommand } from "citty";
import { AppError } from "../errors.ts";
import { encodingName } from "../store/index-database.ts";
import { imagePath } from "../store/paths.ts";
import { contentIndex, filesOf, openImageFile, type LayerFile } from "../store/layer-files.ts";
import { displayName } from "../util/byte-string.ts";
import { toHex } from "../util/bytes.ts";
import { guard, printLine } from "./command.ts";
import { openRoot, resolveLayer, type OpenRoot } from "./layer-argument.ts";

export const filesCommand = defineCommand({
  meta: { name: "files", description: "Show which chunks the files of a layer consist of" },
  args: {
    layer: { type: "positional", description: "Layer number or chain ID", required: true },
    path: { type: "positional", description: "Only this file", required: false },
  },
  run: ({ args }) =>
    guard(async () => {
      await using root = openRoot();
      printFiles(root, args.layer, args.path);
    }),
});

function printFiles(root: OpenRoot, layerArgument: string, wanted: string | undefined): void {
  const layer = resolveLayer(root, layerArgument);
  if (layer.builder === "mkfs") {
    const problem = `Layer ${layer.id} was built by mkfs.erofs: it has no chunks`;
    throw new AppError("failed_precondition", problem, {
      remedy: `look into its image: dump.erofs or fsck.erofs ${imagePath(root.paths, layer.id)}`,
    });
  }
  using file = openImageFile(imagePath(root.paths, layer.id));
  const path = wanted === undefined ? undefined : `/${wanted.replace(/^\/+/, "")}`;
  let count = 0;
  for (const entry of filesOf(file.image, contentIndex(root.database))) {
    if (path !== undefined && displayName(entry.path) !== path) continue;
    count += 1;
    printFile(entry);
  }
  if (count > 0 || path === undefined) return;
  throw new AppError("not_found", `Layer ${layer.id} has no regular file "${path}"`);
}

/** The path and size, then a line for each piece: offset, size, hash, uses on the node. */
function printFile(file: LayerFile): void {
  const link = file.linkOf === undefined ? "" : ` (hard link to ${displayName(file.linkOf)})`;
  printLine(`${displayName(file.path)} ${file.sizeBytes}${link}`);
  if (file.linkOf !== undefined) return;
  for (const piece of file.pieces()) {
    if (piece.kind === "chunk") {
      const { sha256, size_bytes, uses, encoding, blocks } = piece.chunk;
      const storage = `${encodingName(encoding)}${blocks === 0 ? " bundled" : ""}`;
      const hash = `sha256:${toHex(sha256)}`;
      printLine(`  ${piece.fileOffsetBytes} ${size_bytes} ${hash} uses=${uses} ${storage}`);
    } else {
      printLine(`  ${piece.fileOffsetBytes} ${piece.bytes} ${piece.kind}`);
    }
  }
}
