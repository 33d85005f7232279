/**
 * The layers of an image, each converted once, several at a time.
 *
 * @module
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { isLayerType, layerTarType } from "../containerd/descriptor.ts";
import { AppError, describeError, type ErrorCode } from "../errors.ts";
import { lazyAnnotations, lazyClaim, type LazyClaim } from "../lazy/annotations.ts";
import type { LazyChunk, LazyFormat, LazyLayer } from "../lazy/model.ts";
import type { Wanted } from "../lazy/write/layer-parts.ts";
import { toHex } from "../util/bytes.ts";
import { footerRange, needsFooter, readLazyLayer, tocRange } from "../lazy/open.ts";
import { verifyBlob } from "../registry/verify.ts";
import type { FileRange, ImageSource, ImageTarget } from "../oci/contract.ts";
import { blobOf, mediaType, type OciDescriptor } from "../oci/schema.ts";
import { writeSynced } from "../oci/layout-target.ts";
import { Gate } from "../util/gate.ts";
import type { ConversionEvents, LayerOutcome } from "./events.ts";
import type { ConvertedLayer, LayerJob } from "./layer.ts";

/** Fetched, converted or stored at a time: each may take its size on disk twice. */
const layersAtOnceMax = 8;

/** A table that is wrong, too large, or in a registry without ranges: a new one is made. */
const unreadableCodes: ReadonlySet<ErrorCode> = new Set([
  "data_loss",
  "resource_exhausted",
  "unimplemented",
]);

export interface LayerPair {
  readonly descriptor: OciDescriptor;
  readonly diffId: string;
}

/** Runs a job somewhere; how many at a time is its business. */
export type RunLayerJob = (
  job: LayerJob,
  onProgress: (bytes: number) => void,
) => Promise<ConvertedLayer>;

export interface LayerSettings extends Wanted {
  readonly format: LazyFormat;
}

export class LayerConverter {
  readonly outcomes: LayerOutcome[] = [];
  /** Of the wanted paths. */
  readonly found = new Set<string>();
  /** Of the hashes of the trace. */
  readonly known = new Set<string>();
  readonly #source: ImageSource;
  readonly #target: ImageTarget;
  readonly #settings: LayerSettings;
  readonly #run: RunLayerJob;
  readonly #events: ConversionEvents;
  readonly #layers = new Map<string, Promise<LayerPair>>();
  readonly #gate = new Gate(layersAtOnceMax);
  /** Tables of contents may be large, and are read as a whole. */
  readonly #tables = new Gate(1);
  #files = 0;
  #hasFailed = false;

  constructor(
    source: ImageSource,
    target: ImageTarget,
    settings: LayerSettings,
    run: RunLayerJob,
    events: ConversionEvents,
  ) {
    this.#source = source;
    this.#target = target;
    this.#settings = settings;
    this.#run = run;
    this.#events = events;
  }

  /** The layer in its new form, which is in the target then; its errors name the layer. */
  convert(layer: LayerPair): Promise<LayerPair> {
    const key = `${layer.descriptor.digest} ${layer.diffId}`;
    const running = this.#layers.get(key);
    if (running !== undefined) return running;
    const converted = this.#gate.run(async () => {
      if (this.#hasFailed) throw new AppError("cancelled", "Another layer failed");
      try {
        return await this.#convert(layer);
      } catch (error) {
        this.#hasFailed = true;
        throw namedError(layer, error);
      }
    });
    this.#layers.set(key, converted);
    return converted;
  }

  async #convert(layer: LayerPair): Promise<LayerPair> {
    const { descriptor } = layer;
    if (!isLayerType(descriptor.mediaType)) {
      return this.#keep(layer, `is of the type ${descriptor.mediaType}`);
    }
    if ((descriptor.urls ?? []).length > 0) {
      this.#note(descriptor, "lies elsewhere");
      return layer;
    }
    if (await this.#isLazyAlready(descriptor)) return this.#keep(layer, "is lazy already");
    await using local = await this.#fetch(descriptor);
    const target = this.#workFile(descriptor, "lazy");
    const job = { ...this.#settings, ...local, digest: descriptor.digest, diffId: layer.diffId };
    try {
      const made = await this.#run({ ...job, target }, (bytes) => this.#events.progressed(bytes));
      return await this.#take(layer, made, target);
    } catch (error) {
      await rm(target, { force: true });
      if (!(error instanceof AppError && error.code === "unimplemented")) throw error;
      return await this.#keep(layer, describeError(error));
    }
  }

  async #take(layer: LayerPair, made: ConvertedLayer, path: string): Promise<LayerPair> {
    for (const wanted of made.found) this.found.add(wanted);
    for (const hash of made.known) this.known.add(hash);
    const others = Object.entries(layer.descriptor.annotations ?? {}).filter(
      ([key]) => !lazyAnnotations.has(key),
    );
    const descriptor: OciDescriptor = {
      ...layer.descriptor,
      mediaType: this.#settings.format === "estargz" ? mediaType.gzipLayer : mediaType.zstdLayer,
      digest: made.digest,
      size: made.sizeBytes,
      annotations: { ...Object.fromEntries(others), ...made.annotations },
    };
    await this.#target.putFile(blobOf(descriptor), path);
    this.#note(layer.descriptor, undefined, made.sizeBytes);
    return { descriptor, diffId: made.diffId };
  }

  async #keep(layer: LayerPair, reason: string): Promise<LayerPair> {
    const blob = blobOf(layer.descriptor);
    await this.#target.putBlob(blob, () => this.#source.blob(blob));
    this.#note(layer.descriptor, reason);
    return { ...layer, descriptor: ociLayer(layer.descriptor) };
  }

  #note({ digest, size }: OciDescriptor, keptBecause?: string, convertedBytes = size): void {
    const reason = keptBecause === undefined ? {} : { keptBecause };
    const outcome = { digest, sizeBytes: size, convertedBytes, ...reason };
    this.outcomes.push(outcome);
    this.#events.layerDone(outcome);
  }

  /**
   * Whether the layer has a table of the wanted format that is right, and no content that shall go
   * first.
   */
  async #isLazyAlready(descriptor: OciDescriptor): Promise<boolean> {
    try {
      const claim = lazyClaim(descriptor.annotations ?? {});
      if (claim?.format !== this.#settings.format) return false;
      const layer = await this.#tables.run(() => this.#readToc(descriptor, claim));
      return !hasTraced(layer, this.#settings.traced);
    } catch (error) {
      if (error instanceof AppError && unreadableCodes.has(error.code)) return false;
      throw error;
    }
  }

  async #readToc(descriptor: OciDescriptor, claim: LazyClaim): Promise<LazyLayer> {
    const blob = blobOf(descriptor);
    const read = (at: number, length: number) => this.#source.blobRange(blob, at, length);
    const end = footerRange(blob.sizeBytes);
    const footer = needsFooter(claim) ? await read(end.offsetBytes, end.lengthBytes) : undefined;
    const range = tocRange(claim, blob.sizeBytes, footer);
    return readLazyLayer(claim, range, await read(range.offsetBytes, range.lengthBytes));
  }

  /** The blob as a file of this machine, for as long as it is needed. */
  async #fetch(descriptor: OciDescriptor): Promise<{ source: FileRange } & AsyncDisposable> {
    const blob = blobOf(descriptor);
    const local = await this.#source.localBlob(blob);
    if (local !== undefined) {
      return { source: local, [Symbol.asyncDispose]: () => Promise.resolve() };
    }
    const path = this.#workFile(descriptor, "source");
    const dispose = () => rm(path, { force: true });
    try {
      await writeSynced(path, verifyBlob(blob, this.#source.blob(blob)));
    } catch (error) {
      await dispose();
      throw error;
    }
    const source = { path, offsetBytes: 0, lengthBytes: blob.sizeBytes };
    return { source, [Symbol.asyncDispose]: dispose };
  }

  #workFile({ digest }: OciDescriptor, suffix: string): string {
    // One digest may come with two diff IDs, of which one is wrong.
    this.#files += 1;
    return join(this.#target.workFolder, `${digest.replace(":", "-")}.${this.#files}.${suffix}`);
  }
}

function hasTraced({ entries }: LazyLayer, traced: readonly string[]): boolean {
  const hashes = new Set(traced);
  const isTraced = ({ source }: LazyChunk) =>
    source !== undefined && hashes.has(toHex(source.sha256));
  return hashes.size > 0 && entries.some(({ chunks }) => chunks.some(isTraced));
}

function namedError({ descriptor }: LayerPair, error: unknown): AppError {
  const problem = `Cannot convert layer "${descriptor.digest}": ${describeError(error)}`;
  if (!(error instanceof AppError)) return new AppError("internal", problem);
  const remedy = error.remedy === undefined ? {} : { remedy: error.remedy };
  return new AppError(error.code, problem, remedy);
}

/** OCI's name for one of Docker's types, for a manifest has types of one kind. */
function ociLayer(descriptor: OciDescriptor): OciDescriptor {
  const compressed = "application/vnd.docker.image.rootfs.diff.tar";
  if (!descriptor.mediaType.startsWith(compressed)) return descriptor;
  const suffix = descriptor.mediaType.slice(compressed.length).replace(".", "+");
  return { ...descriptor, mediaType: `${layerTarType}${suffix}` };
}
