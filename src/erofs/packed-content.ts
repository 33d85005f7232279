/**
 * Where fragments lie: ranges of the packed inode, which lies in devices itself.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import type { ErofsImage } from "./open-image.ts";
import { type Extent, extentsOf } from "./read-content.ts";
import { readInode } from "./read-inode.ts";

export type PackedExtent = Extent & { readonly kind: "blocks" | "compressed" };

export class PackedContent {
  readonly #image: ErofsImage;
  #extents: PackedExtent[] | undefined;

  constructor(image: ErofsImage) {
    this.#image = image;
  }

  /** The extent of the packed inode that holds the byte at this offset. Throws FormatError. */
  extentAt(offsetBytes: number): PackedExtent {
    this.#extents ??= this.#read();
    let low = 0;
    let high = this.#extents.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#extents[middle]!.fileOffsetBytes <= offsetBytes) low = middle + 1;
      else high = middle;
    }
    const extent = this.#extents[low - 1];
    if (extent === undefined) throw malformed(`nothing at ${offsetBytes}`);
    return extent;
  }

  #read(): PackedExtent[] {
    const extents: PackedExtent[] = [];
    const inode = readInode(this.#image, this.#image.superblock.packedNid);
    for (const extent of extentsOf(this.#image, inode)) {
      if (extent.kind !== "blocks" && extent.kind !== "compressed") {
        throw malformed(`${extent.kind} at ${extent.fileOffsetBytes}`);
      }
      extents.push(extent);
    }
    return extents;
  }
}

function malformed(problem: string): FormatError {
  return new FormatError("EROFS packed inode", 0, problem);
}
