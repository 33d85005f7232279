/**
 * An image in a registry, as a source and as a target.
 *
 * @module
 */
import { mkdtempSync } from "node:fs";
import { rm, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Descriptor } from "../containerd/descriptor.ts";
import type { Reference, RegistryClient, UploadOptions } from "../registry/contract.ts";
import { MiB } from "../util/bytes.ts";
import { readFileRange } from "./bytes.ts";
import type { FileRange, ImageSource, ImageTarget } from "./contract.ts";

/** Of one request; well below what a client takes at once. */
const rangeBytes = 16 * MiB;

export class RegistrySource implements ImageSource {
  readonly name: string;
  readonly #client: RegistryClient;
  readonly #reference: Reference;

  constructor(client: RegistryClient, reference: Reference, name: string) {
    this.name = name;
    this.#client = client;
    this.#reference = reference;
  }

  resolve(): Promise<Descriptor> {
    return this.#client.resolve(this.#reference);
  }

  manifest({ digest }: Descriptor): Promise<Uint8Array> {
    return this.#client.manifest(this.#reference, digest);
  }

  blob(blob: Descriptor): AsyncIterable<Uint8Array> {
    return this.#client.blob(this.#reference, blob);
  }

  async blobRange({ digest }: Descriptor, offset: number, length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let at = 0; at < length; at += rangeBytes) {
      const count = Math.min(rangeBytes, length - at);
      parts.push(await this.#client.blobRange(this.#reference, digest, offset + at, count));
    }
    return Buffer.concat(parts);
  }

  localBlob(): Promise<FileRange | undefined> {
    return Promise.resolve(undefined);
  }
}

export class RegistryTarget implements ImageTarget {
  readonly name: string;
  readonly workFolder = mkdtempSync(join(tmpdir(), "dedup-convert-"));
  readonly #client: RegistryClient;
  readonly #reference: Reference;
  readonly #upload: UploadOptions;

  /** @param from where the image comes from: in the same registry, blobs need not be sent */
  constructor(client: RegistryClient, reference: Reference, name: string, from?: Reference) {
    this.name = name;
    this.#client = client;
    this.#reference = reference;
    this.#upload = from?.host === reference.host ? { mountFrom: from.repository } : {};
  }

  async putBlob(blob: Descriptor, content: () => AsyncIterable<Uint8Array>): Promise<void> {
    await this.#client.uploadBlob(this.#reference, blob, content, this.#upload);
  }

  async putFile(blob: Descriptor, path: string): Promise<void> {
    const range = { path, offsetBytes: 0, lengthBytes: blob.sizeBytes };
    await this.#client.uploadBlob(this.#reference, blob, () => readFileRange(range));
    await unlink(path);
  }

  async putManifest({ mediaType, digest }: Descriptor, bytes: Uint8Array): Promise<void> {
    const reference = { ...this.#reference, tag: undefined, digest };
    await this.#client.putManifest(reference, bytes, mediaType);
  }

  async finish({ mediaType }: Descriptor, bytes: Uint8Array): Promise<void> {
    await this.#client.putManifest(this.#reference, bytes, mediaType);
  }

  async close(): Promise<void> {
    await rm(this.workFolder, { recursive: true, force: true });
  }
}
