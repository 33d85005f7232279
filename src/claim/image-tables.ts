/**
 * The tables of contents of the layers of an image, all fetched when the first of them is asked
 * for: containerd asks for one layer after the other, and would wait for each.
 *
 * A table is kept until it is used, at most a minute. What failed is remembered as well, so that a
 * registry that is away holds a pull up once, and not at each layer.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { OciDescriptor, OciManifest } from "../oci/schema.ts";
import { defined } from "../util/assert.ts";
import { MiB } from "../util/bytes.ts";
import { Gate } from "../util/gate.ts";
import { candidateOf } from "./candidate.ts";
import type { ManifestRequest } from "./manifest.ts";
import { readToc, type ReadRange, type TocBytes } from "./toc-ranges.ts";

/** Fetched at the same time; a server gets no more requests than the client lets through. */
const fetchesMax = 8;
/** Of tables that nobody has asked for yet; those beyond are fetched when they are. */
const waitingBytesMax = 64 * MiB;
const keptMs = 60_000;

export interface ImageTablesOptions {
  readonly manifest: (request: ManifestRequest, signal: AbortSignal) => Promise<OciManifest>;
  readonly ranges: (image: string, digest: string, signal: AbortSignal) => ReadRange;
  /** Whether the layer is there as the image means it, so that its table is not needed. */
  readonly isKnown: (layer: OciDescriptor) => boolean;
  /** Whether a table is good that the manifest does not vouch for. */
  readonly allowUnverified: boolean;
  /** Of all that is fetched for an image in advance. */
  readonly timeoutMs: number;
}

export interface LayerTable extends TocBytes {
  readonly blobBytes: number;
}

/** A table, or why there is none. */
export type TableAnswer = LayerTable | { readonly reason: string };

type Admit = (sizeBytes: number) => boolean;
const always: Admit = () => true;

interface Waiting {
  /** Undefined where the table was too large to wait. */
  readonly answer: Promise<TableAnswer | undefined>;
  /** Of the table, as long as it waits. */
  readonly kept: { bytes: number };
}

interface Image {
  readonly request: ManifestRequest;
  readonly manifest: Promise<OciManifest>;
  readonly abort: AbortController;
  /** By digest of the blob; undefined before a layer was asked for. */
  tables: Map<string, Waiting> | undefined;
  expiry: Timer | undefined;
  hasFailed: boolean;
}

export class ImageTables {
  readonly #options: ImageTablesOptions;
  readonly #images = new Map<string, Image>();
  readonly #gate = new Gate(fetchesMax);
  #waitingBytes = 0;

  constructor(options: ImageTablesOptions) {
    this.#options = options;
  }

  /** Rejects where the manifest cannot be had. */
  manifest(request: ManifestRequest): Promise<OciManifest> {
    return this.#imageOf(request).manifest;
  }

  /**
   * The table of one layer, which is forgotten then. Rejects where it cannot be fetched.
   *
   * @param signal ends what is fetched for this call alone
   */
  async table(
    request: ManifestRequest,
    layerDigest: string,
    signal: AbortSignal,
  ): Promise<TableAnswer> {
    const image = this.#imageOf(request);
    const { layers } = await image.manifest;
    const descriptor = layers.find(({ digest }) => digest === layerDigest);
    if (descriptor === undefined) return { reason: "the manifest of the image has no such layer" };
    image.tables ??= this.#fetchAll(image, layers);
    const waiting = image.tables.get(layerDigest);
    image.tables.delete(layerDigest);
    const answer = await waiting?.answer.finally(() => this.#forget(waiting));
    if (answer !== undefined) return answer;
    const table = await this.#fetch(request, descriptor, signal, always);
    return defined(table, "a table of any size");
  }

  /** Ends everything. */
  close(): void {
    for (const key of this.#images.keys()) this.#drop(key);
  }

  /** How many bytes of tables wait to be asked for. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  #imageOf(request: ManifestRequest): Image {
    const key = `${request.manifestDigest} ${request.image}`;
    const image = this.#images.get(key) ?? this.#begin(key, request);
    if (image.hasFailed) return image;
    clearTimeout(image.expiry);
    image.expiry = setTimeout(() => this.#drop(key), keptMs);
    image.expiry.unref();
    return image;
  }

  #begin(key: string, request: ManifestRequest): Image {
    const abort = new AbortController();
    const manifest = this.#options.manifest(request, this.#bounded(abort.signal));
    const image: Image = {
      request,
      manifest,
      abort,
      tables: undefined,
      expiry: undefined,
      hasFailed: false,
    };
    manifest.catch(() => {
      image.hasFailed = true;
    });
    this.#images.set(key, image);
    return image;
  }

  #drop(key: string): void {
    const image = this.#images.get(key);
    this.#images.delete(key);
    clearTimeout(image?.expiry);
    image?.abort.abort(new AppError("cancelled", "nobody has asked for it"));
    for (const waiting of image?.tables?.values() ?? []) this.#forget(waiting);
  }

  #bounded(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, AbortSignal.timeout(this.#options.timeoutMs)]);
  }

  #fetchAll({ request, abort }: Image, layers: readonly OciDescriptor[]): Map<string, Waiting> {
    const signal = this.#bounded(abort.signal);
    const tables = new Map<string, Waiting>();
    for (const descriptor of layers) {
      const { digest } = descriptor;
      if (tables.has(digest) || this.#options.isKnown(descriptor)) continue;
      const kept = { bytes: 0 };
      const admit = (sizeBytes: number) => !signal.aborted && this.#admit(kept, sizeBytes);
      const answer = this.#gate.run(() => this.#fetch(request, descriptor, signal, admit));
      // Whoever asks for it gets the failure; perhaps nobody does.
      answer.catch(() => this.#forget({ answer, kept }));
      tables.set(digest, { answer, kept });
    }
    return tables;
  }

  #admit(kept: Waiting["kept"], sizeBytes: number): boolean {
    if (this.#waitingBytes + sizeBytes > waitingBytesMax) return false;
    this.#waitingBytes += sizeBytes;
    kept.bytes = sizeBytes;
    return true;
  }

  #forget({ kept }: Waiting): void {
    this.#waitingBytes -= kept.bytes;
    kept.bytes = 0;
  }

  /** Undefined where the table was not admitted. */
  async #fetch(
    { image }: ManifestRequest,
    descriptor: OciDescriptor,
    signal: AbortSignal,
    admit: Admit,
  ): Promise<TableAnswer | undefined> {
    const candidate = candidateOf(descriptor, this.#options.allowUnverified);
    if ("reason" in candidate) return candidate;
    signal.throwIfAborted();
    const { digest, size: blobBytes } = descriptor;
    const read = this.#options.ranges(image, digest, signal);
    const table = await readToc(blobBytes, candidate.claim, read, admit);
    if (table === "refused") return undefined;
    return table === "absent"
      ? { reason: "neither the image nor its end names a table of contents" }
      : { ...table, blobBytes };
  }
}
