/** An image in an OCI layout on disk. */
import type { Descriptor } from "../containerd/descriptor.ts";
import { AppError } from "../errors.ts";
import { documentBytesMax, readDocument, readFileRange } from "./bytes.ts";
import type { FileRange, ImageSource } from "./contract.ts";
import {
  blobName,
  indexFileName,
  openLayoutFiles,
  readPart,
  type LayoutFiles,
} from "./layout-files.ts";
import { findImage } from "./layout-index.ts";
import { blobOf, parseIndex } from "./schema.ts";

export class LayoutSource implements ImageSource {
  readonly name: string;
  readonly #tag: string | undefined;
  readonly #files: LayoutFiles;

  private constructor(path: string, tag: string | undefined, files: LayoutFiles) {
    this.name = `oci:${path}${tag === undefined ? "" : `:${tag}`}`;
    this.#tag = tag;
    this.#files = files;
  }

  /** @param path of a folder, or of a tar of one */
  static async open(path: string, tag: string | undefined): Promise<LayoutSource> {
    return new LayoutSource(path, tag, await openLayoutFiles(path));
  }

  async resolve(): Promise<Descriptor> {
    const file = await this.#files.find(indexFileName);
    if (file === undefined || file.lengthBytes > documentBytesMax) {
      throw new AppError("data_loss", `"${this.name}" has no ${indexFileName}`);
    }
    const bytes = await readPart(file, 0, file.lengthBytes);
    const index = parseIndex(bytes, `${indexFileName} of "${this.name}"`);
    return blobOf(findImage(index, this.#tag, this.name));
  }

  manifest(descriptor: Descriptor): Promise<Uint8Array> {
    return readDocument(descriptor, this.blob(descriptor));
  }

  async *blob(blob: Descriptor): AsyncGenerator<Uint8Array, void> {
    yield* readFileRange(await this.#find(blob));
  }

  async blobRange(blob: Descriptor, offset: number, length: number): Promise<Uint8Array> {
    return readPart(await this.#find(blob), offset, length);
  }

  localBlob(blob: Descriptor): Promise<FileRange> {
    return this.#find(blob);
  }

  async #find({ digest, sizeBytes }: Descriptor): Promise<FileRange> {
    const file = await this.#files.find(blobName(digest));
    if (file === undefined) {
      throw new AppError("not_found", `"${this.name}" has no blob "${digest}"`);
    }
    if (file.lengthBytes === sizeBytes) return file;
    const problem = `has ${file.lengthBytes} bytes, not ${sizeBytes}`;
    throw new AppError("data_loss", `Blob "${digest}" of "${this.name}" ${problem}`);
  }
}
