/**
 * The tables of contents of the layers of an image, all fetched when the first of them is asked
 * for: containerd asks for one layer after the other, and would wait for each.
 *
 * A table is kept until it is used, at most a minute. All that are in memory at a time share
 * budgets: those that wait, and those of which layers are being made. What failed is remembered as
 * well, so that a registry that is away holds a pull up once, and not at each layer.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { tocBytesMax } from "../lazy/limits.ts";
import type { OciDescriptor, OciManifest } from "../oci/schema.ts";
import type { LazyTable } from "../snapshot/contract.ts";
import { defined } from "../util/assert.ts";
import { ByteBudget } from "../util/byte-budget.ts";
import { MiB } from "../util/bytes.ts";
import { Gate } from "../util/gate.ts";
import { candidateOf } from "./candidate.ts";
import type { ManifestRequest } from "./manifest.ts";
import { readToc, type ReadRange, type TocBytes } from "./toc-ranges.ts";

/** Fetched at the same time; a server gets no more requests than the client lets through. */
const fetchesMax = 8;
/** Of tables that were fetched in advance; those beyond are fetched when they are asked for. */
const aheadBytesMax = 64 * MiB;
/** Of those that are fetched when they are asked for. They wait for each other. */
const askedBytesMax = tocBytesMax;
const keptMs = 60_000;

export interface ImageTablesOptions {
  readonly manifest: (request: ManifestRequest, signal: AbortSignal) => Promise<OciManifest>;
  readonly ranges: (image: string, digest: string, signal: AbortSignal) => ReadRange;
  /** Whether the layer is there as the image means it, so that its table is not needed. */
  readonly isKnown: (layer: OciDescriptor) => boolean;
  /** Tables are fetched, and layers will be made of them. */
  readonly expect: () => void;
  /** Whether a table is good that the manifest does not vouch for. */
  readonly allowUnverified: boolean;
  /** Of all that is fetched for an image in advance. */
  readonly timeoutMs: number;
}

/** To be disposed of when nobody needs it any more. */
export interface LayerTable extends TocBytes, Disposable {
  readonly blobBytes: number;
}

/** A table, or why there is none. */
export type TableAnswer = LayerTable | { readonly reason: string };

/** Undefined where the table was too large to be fetched in advance. */
type Waiting = Promise<TableAnswer | undefined>;

/** Gives room for a table, or refuses it. */
type TakeBytes = (sizeBytes: number) => Disposable | undefined | Promise<Disposable>;

interface Image {
  readonly request: ManifestRequest;
  readonly manifest: Promise<OciManifest>;
  readonly abort: AbortController;
  /** By digest of the blob; undefined before a layer was asked for. */
  tables: Map<string, Waiting> | undefined;
  expiry: Timer | undefined;
  hasFailed: boolean;
}

/** Nobody needs the table, whenever it comes. */
export function releaseTable(answer: Promise<TableAnswer | undefined>): void {
  void answer.then(
    (table) => {
      if (table !== undefined && "toc" in table) table[Symbol.dispose]();
    },
    () => undefined,
  );
}

/** What a layer is made of. */
export function lazyTable(table: LayerTable, image: string, digest: string): LazyTable {
  const { claim, range, toc, blobBytes: sizeBytes } = table;
  return { image, digest, sizeBytes, claim, range, toc };
}

export class ImageTables {
  readonly #options: ImageTablesOptions;
  readonly #images = new Map<string, Image>();
  readonly #gate = new Gate(fetchesMax);
  readonly #ahead = new ByteBudget(aheadBytesMax);
  readonly #asked = new ByteBudget(askedBytesMax);

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
    const answer = await this.tableAhead(request, layerDigest);
    if (answer !== undefined) return answer;
    const { layers } = await this.manifest(request);
    const descriptor = defined(
      layers.find(({ digest }) => digest === layerDigest),
      "the layer in its manifest",
    );
    const take: TakeBytes = (sizeBytes) => this.#asked.take(sizeBytes);
    const table = await this.#fetch(request, descriptor, signal, take);
    return defined(table, "a table that was waited for");
  }

  /** The same of what is fetched in advance: undefined for a table for which there is no room. */
  async tableAhead(
    request: ManifestRequest,
    layerDigest: string,
  ): Promise<TableAnswer | undefined> {
    const image = this.#imageOf(request);
    const { layers } = await image.manifest;
    if (!layers.some(({ digest }) => digest === layerDigest)) {
      return { reason: "the manifest of the image has no such layer" };
    }
    image.tables ??= this.#fetchAll(image, layers);
    const waiting = image.tables.get(layerDigest);
    image.tables.delete(layerDigest);
    return waiting;
  }

  /** Ends everything. */
  close(): void {
    for (const key of this.#images.keys()) this.#drop(key);
  }

  /** How many bytes of tables are in memory. */
  get heldBytes(): number {
    return this.#ahead.takenBytes + this.#asked.takenBytes;
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
    for (const waiting of image?.tables?.values() ?? []) releaseTable(waiting);
  }

  #bounded(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, AbortSignal.timeout(this.#options.timeoutMs)]);
  }

  #fetchAll({ request, abort }: Image, layers: readonly OciDescriptor[]): Map<string, Waiting> {
    const signal = this.#bounded(abort.signal);
    const tables = new Map<string, Waiting>();
    let isExpected = false;
    for (const descriptor of layers) {
      const { digest } = descriptor;
      if (tables.has(digest) || this.#options.isKnown(descriptor)) continue;
      isExpected ||= !("reason" in candidateOf(descriptor, this.#options.allowUnverified));
      const take: TakeBytes = (sizeBytes) => this.#ahead.tryTake(sizeBytes);
      const answer = this.#gate.run(() => this.#fetch(request, descriptor, signal, take));
      // Whoever asks for it gets the failure; perhaps nobody does.
      answer.catch(() => undefined);
      tables.set(digest, answer);
    }
    if (isExpected) this.#options.expect();
    return tables;
  }

  /** Undefined where there was no room for the table. */
  async #fetch(
    { image }: ManifestRequest,
    descriptor: OciDescriptor,
    signal: AbortSignal,
    take: TakeBytes,
  ): Promise<TableAnswer | undefined> {
    const candidate = candidateOf(descriptor, this.#options.allowUnverified);
    if ("reason" in candidate) return candidate;
    signal.throwIfAborted();
    const { digest, size: blobBytes } = descriptor;
    const read = this.#options.ranges(image, digest, signal);
    using room = new DisposableStack();
    const table = await readToc(blobBytes, candidate.claim, read, async (sizeBytes) => {
      const taken = room.use(await take(sizeBytes));
      signal.throwIfAborted();
      return taken !== undefined;
    });
    if (table === "refused") return undefined;
    if (table === "absent") {
      return { reason: "neither the image nor its end names a table of contents" };
    }
    const kept = room.move();
    return { ...table, blobBytes, [Symbol.dispose]: () => kept.dispose() };
  }
}
