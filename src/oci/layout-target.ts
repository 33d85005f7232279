/**
 * Puts an image into an OCI layout, a new one or one with other images in it.
 *
 * Blobs come first, each synced and renamed to its name; then `index.json`, in the same way. A
 * crash leaves blobs nobody refers to, never an image that lacks one.
 *
 * @module
 */
import { existsSync, mkdtempSync } from "node:fs";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Descriptor } from "../containerd/descriptor.ts";
import { AppError } from "../errors.ts";
import { syncFolder } from "../util/sync-folder.ts";
import { verifyBlob } from "../registry/verify.ts";
import type { ImageTarget } from "./contract.ts";
import { blobName, indexFileName, layoutFileName, layoutVersion } from "./layout-files.ts";
import { emptyIndex, withImage } from "./layout-index.ts";
import { encodeJson, parseIndex, type OciIndex } from "./schema.ts";

/** Writes a file that is there as a whole or not at all; its folder is to be synced later. */
export async function writeSynced(
  path: string,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  await using file = await open(path, "w", 0o644);
  for await (const piece of content) await file.writeFile(piece);
  await file.sync();
}

export class LayoutTarget implements ImageTarget {
  readonly name: string;
  readonly workFolder: string;
  readonly #path: string;
  readonly #tag: string | undefined;
  #files = 0;

  private constructor(path: string, tag: string | undefined, workFolder: string) {
    this.name = `oci:${path}${tag === undefined ? "" : `:${tag}`}`;
    this.#path = path;
    this.#tag = tag;
    this.workFolder = workFolder;
  }

  /** @param path of a folder, which is made if it is not there */
  static async open(path: string, tag: string | undefined): Promise<LayoutTarget> {
    if (existsSync(path) && !(await stat(path)).isDirectory()) {
      throw new AppError("invalid_argument", `"${path}" is no folder`);
    }
    await mkdir(join(path, "blobs", "sha256"), { recursive: true });
    return new LayoutTarget(path, tag, mkdtempSync(join(path, ".convert-")));
  }

  async putBlob(blob: Descriptor, content: () => AsyncIterable<Uint8Array>): Promise<void> {
    if (await this.#hasBlob(blob)) return;
    const path = this.#workFile();
    await writeSynced(path, verifyBlob(blob, content()));
    await this.putFile(blob, path);
  }

  async putFile({ digest }: Descriptor, path: string): Promise<void> {
    const target = join(this.#path, blobName(digest));
    await mkdir(dirname(target), { recursive: true });
    await rename(path, target);
  }

  async putManifest(descriptor: Descriptor, bytes: Uint8Array): Promise<void> {
    const path = this.#workFile();
    await writeSynced(path, [bytes]);
    await this.putFile(descriptor, path);
  }

  async finish(descriptor: Descriptor, bytes: Uint8Array): Promise<void> {
    await this.putManifest(descriptor, bytes);
    for (const name of ["blobs/sha256", "blobs/sha512", "blobs"]) {
      const folder = join(this.#path, name);
      if (existsSync(folder)) syncFolder(folder);
    }
    const { mediaType, digest, sizeBytes } = descriptor;
    const image = { mediaType, digest, size: sizeBytes };
    const index = withImage(await this.#readIndex(), image, this.#tag);
    await this.#putNamed(layoutFileName, Buffer.from(layoutVersion));
    await this.#putNamed(indexFileName, encodeJson(index));
    syncFolder(this.#path);
    // The layout itself may be new.
    syncFolder(dirname(resolve(this.#path)));
  }

  async close(): Promise<void> {
    await rm(this.workFolder, { recursive: true, force: true });
  }

  async #hasBlob({ digest, sizeBytes }: Descriptor): Promise<boolean> {
    const path = join(this.#path, blobName(digest));
    return existsSync(path) && (await stat(path)).size === sizeBytes;
  }

  async #readIndex(): Promise<OciIndex> {
    const path = join(this.#path, indexFileName);
    if (!existsSync(path)) return emptyIndex;
    return parseIndex(await readFile(path), `${indexFileName} of "${this.name}"`);
  }

  async #putNamed(name: string, bytes: Uint8Array): Promise<void> {
    const path = this.#workFile();
    await writeSynced(path, [bytes]);
    await rename(path, join(this.#path, name));
  }

  #workFile(): string {
    this.#files += 1;
    return join(this.workFolder, `document-${this.#files}`);
  }
}
