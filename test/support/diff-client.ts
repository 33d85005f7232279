/**
 * A client of the diff service, as containerd's unpacker is one, and the content store it reads.
 *
 * @module
 */
import { credentials, type ServiceError } from "@grpc/grpc-js";
import { linkSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { blobFile } from "../../src/containerd/content-store.ts";
import { parseDigest } from "../../src/containerd/descriptor.ts";
import {
  DiffClient as GeneratedClient,
  type ApplyResponse,
} from "../../src/rpc/gen/containerd/services/diff/v1/diff.ts";
import type { Descriptor } from "../../src/rpc/gen/containerd/types/descriptor.ts";
import type { Mount } from "../../src/rpc/gen/containerd/types/mount.ts";
import { defined } from "../../src/util/assert.ts";
import { toHex } from "../../src/util/bytes.ts";
import { sha256OfFile } from "../../src/util/file-hash.ts";
import { sha256 } from "./image/oci.ts";

export const tarLayerType = "application/vnd.oci.image.layer.v1.tar";
export const gzipLayerType = "application/vnd.oci.image.layer.v1.tar+gzip";

export function descriptorOf(blob: Uint8Array, mediaType = gzipLayerType): Descriptor {
  return { mediaType, digest: sha256(blob), size: BigInt(blob.length), annotations: new Map() };
}

/** Blobs as files, where containerd with this root folder has them. */
export class ContentFolder {
  readonly #root: string;

  constructor(containerdRoot: string) {
    this.#root = containerdRoot;
  }

  /** Puts a blob under its digest, or under another. */
  put(blob: Uint8Array, digest: string = sha256(blob)): void {
    const path = this.#path(digest);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, blob);
  }

  /** Puts a blob that is a file of the same file system; returns what containerd calls it by. */
  putFile(file: string, mediaType: string): Descriptor {
    const digest = `sha256:${toHex(sha256OfFile(file))}`;
    const path = this.#path(digest);
    mkdirSync(dirname(path), { recursive: true });
    linkSync(file, path);
    return { mediaType, digest, size: BigInt(statSync(file).size), annotations: new Map() };
  }

  remove(digest: string): void {
    rmSync(this.#path(digest), { force: true });
  }

  #path(digest: string): string {
    return blobFile(this.#root, defined(parseDigest(digest), "a digest"));
  }
}

export class DiffClient implements Disposable {
  readonly #client: InstanceType<typeof GeneratedClient>;

  constructor(socket: string) {
    this.#client = new GeneratedClient(`unix:${socket}`, credentials.createInsecure());
  }

  /**
   * Applies a blob; resolves with the descriptor of the tar.
   *
   * @param signal cancels the call
   */
  async apply(
    diff: Descriptor,
    mounts: Mount[],
    signal?: AbortSignal,
  ): Promise<Descriptor | undefined> {
    const request = { diff, mounts, payloads: new Map(), syncFs: false };
    const response = await new Promise<ApplyResponse>((resolve, reject) => {
      const call = this.#client.apply(request, (error: ServiceError | null, answer) =>
        error === null ? resolve(answer) : reject(error),
      );
      signal?.addEventListener("abort", () => call.cancel());
    });
    return response.applied;
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}
