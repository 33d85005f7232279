/**
 * Puts an image into a new tar of an OCI layout: made as a folder beside it, then packed.
 *
 * @module
 */
import { mkdtempSync } from "node:fs";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Descriptor } from "../containerd/descriptor.ts";
import { fileHeader, paddingOf, tarEnd } from "../lazy/write/tar-header.ts";
import { byteStringOfText } from "../util/byte-string.ts";
import { syncFolder } from "../util/sync-folder.ts";
import { readFileRange } from "./bytes.ts";
import type { ImageTarget } from "./contract.ts";
import { indexFileName, layoutFileName } from "./layout-files.ts";
import { LayoutTarget, writeSynced } from "./layout-target.ts";

export class ArchiveTarget implements ImageTarget {
  readonly name: string;
  readonly #path: string;
  readonly #folder: string;
  readonly #layout: LayoutTarget;

  private constructor(path: string, folder: string, layout: LayoutTarget, name: string) {
    this.name = name;
    this.#path = path;
    this.#folder = folder;
    this.#layout = layout;
  }

  /** @param path of a tar, which is replaced if it is there */
  static async open(path: string, tag: string | undefined): Promise<ArchiveTarget> {
    const folder = mkdtempSync(join(dirname(path), ".convert-"));
    const layout = await LayoutTarget.open(join(folder, "layout"), tag);
    const name = `oci:${path}${tag === undefined ? "" : `:${tag}`}`;
    return new ArchiveTarget(path, folder, layout, name);
  }

  get workFolder(): string {
    return this.#layout.workFolder;
  }

  putBlob(blob: Descriptor, content: () => AsyncIterable<Uint8Array>): Promise<void> {
    return this.#layout.putBlob(blob, content);
  }

  putFile(blob: Descriptor, path: string): Promise<void> {
    return this.#layout.putFile(blob, path);
  }

  putManifest(descriptor: Descriptor, bytes: Uint8Array): Promise<void> {
    return this.#layout.putManifest(descriptor, bytes);
  }

  async finish(descriptor: Descriptor, bytes: Uint8Array): Promise<void> {
    await this.#layout.finish(descriptor, bytes);
    const archive = join(this.#folder, "archive");
    await writeSynced(archive, packLayout(join(this.#folder, "layout")));
    await rename(archive, this.#path);
    syncFolder(dirname(this.#path));
  }

  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** The same bytes for the same layout: in order of names, without times. */
async function* packLayout(folder: string): AsyncGenerator<Uint8Array, void> {
  const blobs = await readdir(join(folder, "blobs"), { recursive: true, withFileTypes: true });
  const names = blobs
    .filter((entry) => entry.isFile())
    .map((entry) => `blobs/${entry.parentPath.split("/").at(-1)}/${entry.name}`)
    .sort();
  for (const name of [layoutFileName, indexFileName, ...names]) {
    const path = join(folder, name);
    const { size } = await stat(path);
    yield fileHeader(byteStringOfText(name), size);
    yield* readFileRange({ path, offsetBytes: 0, lengthBytes: size });
    yield paddingOf(size);
  }
  yield tarEnd;
}
