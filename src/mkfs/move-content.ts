/**
 * Brings what was kept for mkfs.erofs to the packs after all.
 *
 * @module
 */
import type { LayerTree } from "../layer/directory-tree.ts";
import { type ContentOptions, type ContentSource, storeContent } from "../layer/file-content.ts";
import { holeChunk, type RegularFile } from "../erofs/tree.ts";
import { assert } from "../util/assert.ts";
import type { ContentPiece, ContentSpool } from "./content-spool.ts";
import { walkTree } from "./walk-tree.ts";

/** The files of the tree refer to the chunks of `sink` then, not to those of the spool. */
export async function moveContent(
  { tree }: LayerTree,
  spool: ContentSpool,
  options: ContentOptions,
): Promise<void> {
  for (const { ref, inode, linkOf } of walkTree(tree)) {
    if (inode.type !== "file" || inode.content.kind === "inline" || linkOf !== undefined) continue;
    const source = sourceOf(spool, inode);
    const { content } = await storeContent(source, inode.sizeBytes, options);
    tree.inodes.setContent(ref, content);
  }
}

/** Of chunks that are as large as those it is read in, one after the other. */
function sourceOf(spool: ContentSpool, file: RegularFile): ContentSource {
  const pieces = spool.piecesOf(file);
  let piece: ContentPiece | undefined;
  const { content } = file;
  const chunks = content.kind === "chunks" ? content.chunks : [];
  return {
    isSparse: typeof chunks !== "number" && chunks.includes(holeChunk),
    nextData(offset) {
      do piece = pieces.next().value ?? undefined;
      while (piece !== undefined && (piece.offsetBytes < offset || piece.bytes === undefined));
      return piece?.offsetBytes;
    },
    read(target, offset) {
      const bytes = piece?.offsetBytes === offset ? piece.bytes : undefined;
      assert(bytes?.length === target.length, "chunks are read as they were kept");
      if (bytes !== undefined) target.set(bytes);
    },
  };
}
