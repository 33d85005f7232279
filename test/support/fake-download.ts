/**
 * A blob that containerd downloads, as its content store shows it (plugins/content/local).
 *
 * @module
 */
import {
  appendFileSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { blobFile, ingestFolder } from "../../src/containerd/content-store.ts";
import { parseDigest } from "../../src/containerd/descriptor.ts";
import { defined } from "../../src/util/assert.ts";
import { sha256 } from "./image/oci.ts";

export interface FakeDownloadOptions {
  /** What the blob is asked for by, if not by its own. */
  readonly digest?: string;
  /** The whole name of the download. */
  readonly ref?: string;
  /** What `total` says; empty: it is not there. */
  readonly total?: string;
}

export class FakeDownload {
  readonly digest: string;
  /** Where the blob grows. */
  readonly file: string;
  readonly #folder: string;
  readonly #blob: Uint8Array;
  readonly #blobFile: string;

  constructor(containerdRoot: string, blob: Uint8Array, options: FakeDownloadOptions = {}) {
    this.#blob = blob;
    this.digest = options.digest ?? sha256(blob);
    const ref = options.ref ?? `default/7/layer-${this.digest}`;
    this.#blobFile = blobFile(containerdRoot, defined(parseDigest(this.digest), "a digest"));
    this.#folder = join(ingestFolder(containerdRoot), sha256(Buffer.from(ref)).slice(-16));
    this.file = join(this.#folder, "data");
    mkdirSync(this.#folder, { recursive: true });
    writeFileSync(join(this.#folder, "ref"), ref);
    const total = options.total ?? String(blob.length);
    if (total !== "") writeFileSync(join(this.#folder, "total"), total);
    writeFileSync(this.file, "");
  }

  /** Downloads up to this byte. */
  reach(sizeBytes: number): void {
    appendFileSync(this.file, this.#blob.subarray(statSync(this.file).size, sizeBytes));
  }

  /** Makes a blob of what is there and the rest. */
  commit(): void {
    this.reach(this.#blob.length);
    mkdirSync(dirname(this.#blobFile), { recursive: true });
    renameSync(this.file, this.#blobFile);
    this.abort();
  }

  restart(): void {
    truncateSync(this.file, 0);
  }

  abort(): void {
    rmSync(this.#folder, { recursive: true });
  }
}
