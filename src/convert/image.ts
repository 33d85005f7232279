/**
 * Makes an image lazy: layers, configuration, manifest, and the index of several platforms.
 *
 * What comes out is an ordinary OCI image. The same image makes the same one in every run: nothing
 * of the time, the machine or the order of events is in it.
 *
 * @module
 */
import type { Descriptor } from "../containerd/descriptor.ts";
import { AppError } from "../errors.ts";
import { defined } from "../util/assert.ts";
import { readDocument } from "../oci/bytes.ts";
import type { ImageSource, ImageTarget } from "../oci/contract.ts";
import {
  blobOf,
  encodeJson,
  mediaType,
  parseConfig,
  parseManifest,
  type OciConfig,
  type OciDescriptor,
  type OciIndex,
  type OciManifest,
  type Platform,
} from "../oci/schema.ts";
import { sha256Digest } from "../util/digest.ts";
import type { ConversionEvents, ConversionReport } from "./events.ts";
import { LayerConverter, type LayerPair, type LayerSettings, type RunLayerJob } from "./layers.ts";
import { chooseImage, formatPlatform, isFor } from "./platform.ts";

export interface ConversionOptions extends LayerSettings {
  /** Undefined: all that the image has. */
  readonly platform: Platform | undefined;
}

/** An index in an index; images have one at most, and nothing says that they end. */
const indexDepthMax = 4;
/** By which BuildKit marks what is no image but says something of one. */
const attestationAnnotation = "vnd.docker.reference.type";

/** A manifest or index in its new form. */
interface Document {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** An image of one platform, read and verified. */
interface PlannedImage {
  readonly manifest: OciManifest;
  readonly config: OciConfig;
  readonly configBytes: Uint8Array;
  readonly layers: readonly LayerPair[];
}

type Plan =
  | { readonly image: PlannedImage }
  | { readonly index: OciIndex; readonly parts: readonly PlannedPart[] };

interface PlannedPart {
  readonly descriptor: OciDescriptor;
  readonly plan: Plan;
}

/** Rejects with the error of the first layer that failed; the target has no new image then. */
export async function convertImage(
  source: ImageSource,
  target: ImageTarget,
  options: ConversionOptions,
  run: RunLayerJob,
  events: ConversionEvents,
): Promise<ConversionReport> {
  const converter = new LayerConverter(source, target, options, run, events);
  const conversion = new Conversion(source, target, converter, events);
  const plan = await conversion.plan(await source.resolve(), options.platform, 0);
  const layers = new Map(layersOf(plan).map((layer) => [layer.descriptor.digest, layer]));
  const sizes = [...layers.values()].map(({ descriptor }) => descriptor.size);
  events.started(
    layers.size,
    sizes.reduce((sum, size) => sum + size, 0),
  );
  const { descriptor, bytes } = await conversion.convert(plan);
  await target.finish(descriptor, bytes);
  const missing = options.wanted.filter((path) => !converter.found.has(path));
  const unknown = options.traced.filter((hash) => !converter.known.has(hash)).length;
  return { digest: descriptor.digest, layers: converter.outcomes, missing, unknown };
}

function layersOf(plan: Plan): readonly LayerPair[] {
  if ("image" in plan) return plan.image.layers;
  return plan.parts.flatMap((part) => layersOf(part.plan));
}

class Conversion {
  readonly #source: ImageSource;
  readonly #target: ImageTarget;
  readonly #layers: LayerConverter;
  readonly #events: ConversionEvents;

  constructor(
    source: ImageSource,
    target: ImageTarget,
    layers: LayerConverter,
    events: ConversionEvents,
  ) {
    this.#source = source;
    this.#target = target;
    this.#layers = layers;
    this.#events = events;
  }

  /** Reads all but the layers, so that what cannot be converted fails before any work. */
  async plan(descriptor: Descriptor, wanted: Platform | undefined, depth: number): Promise<Plan> {
    const bytes = await this.#source.manifest(descriptor);
    const parsed = parseManifest(bytes, `manifest "${descriptor.digest}"`);
    if ("manifest" in parsed) return { image: await this.#planImage(parsed.manifest, wanted) };
    const { index } = parsed;
    if (depth >= indexDepthMax) {
      throw new AppError("data_loss", `Index "${descriptor.digest}" is in too many others`);
    }
    if (wanted !== undefined) {
      return this.plan(blobOf(chooseImage(index.manifests, wanted)), wanted, depth + 1);
    }
    const parts: PlannedPart[] = [];
    for (const part of index.manifests) {
      if (attestationAnnotation in (part.annotations ?? {})) {
        // It says something of the image with the old digest, which the new one is not.
        this.#events.leftOut(`attestation "${part.digest}"`);
      } else {
        const plan = await this.plan(blobOf(part), undefined, depth + 1);
        parts.push({ descriptor: part, plan });
      }
    }
    return { index, parts };
  }

  async #planImage(manifest: OciManifest, wanted: Platform | undefined): Promise<PlannedImage> {
    const descriptor = blobOf(manifest.config);
    const { mediaType: type, digest } = descriptor;
    if (type !== mediaType.config && type !== mediaType.dockerConfig) {
      throw new AppError("invalid_argument", `It is no image, but has a config of type "${type}"`);
    }
    const configBytes = await readDocument(descriptor, this.#source.blob(descriptor));
    const config = parseConfig(configBytes, `config "${digest}"`);
    if (wanted !== undefined && !isFor(wanted, config)) {
      const problem = `The image is for ${formatPlatform(config)}, not ${formatPlatform(wanted)}`;
      throw new AppError("not_found", problem);
    }
    const diffIds = config.rootfs.diff_ids;
    if (diffIds.length !== manifest.layers.length) {
      const problem = `${diffIds.length} diff IDs for ${manifest.layers.length} layers`;
      throw new AppError("data_loss", `Config "${digest}" has ${problem}`);
    }
    const layers = manifest.layers.map((layer, index) => ({
      descriptor: layer,
      diffId: defined(diffIds[index], "the diff ID of a layer"),
    }));
    return { manifest, config, configBytes, layers };
  }

  /** The new form; what it refers to is in the target. */
  async convert(plan: Plan): Promise<Document> {
    if ("image" in plan) return this.#convertImage(plan.image);
    const documents = await allSettled(plan.parts.map((part) => this.convert(part.plan)));
    const manifests: OciDescriptor[] = [];
    for (const [index, { descriptor, bytes }] of documents.entries()) {
      await this.#target.putManifest(descriptor, bytes);
      const part = defined(plan.parts[index], "the part of an index");
      const { mediaType: type, digest, sizeBytes } = descriptor;
      manifests.push({ ...part.descriptor, mediaType: type, digest, size: sizeBytes });
    }
    return document({ ...plan.index, mediaType: mediaType.index, manifests }, mediaType.index);
  }

  async #convertImage({ manifest, config, configBytes, layers }: PlannedImage): Promise<Document> {
    const converted = await allSettled(layers.map((layer) => this.#layers.convert(layer)));
    const diffIds = converted.map(({ diffId }) => diffId);
    const isSame = diffIds.every((diffId, index) => diffId === layers[index]?.diffId);
    const rootfs = { ...config.rootfs, diff_ids: diffIds };
    const newBytes = isSame ? configBytes : encodeJson({ ...config, rootfs });
    const blob = {
      mediaType: mediaType.config,
      digest: sha256Digest(newBytes),
      sizeBytes: newBytes.length,
    };
    await this.#target.putBlob(blob, () => onePiece(newBytes));
    const { mediaType: type, digest, sizeBytes } = blob;
    const next: OciManifest = {
      ...manifest,
      mediaType: mediaType.manifest,
      config: { ...manifest.config, mediaType: type, digest, size: sizeBytes },
      layers: converted.map(({ descriptor }) => descriptor),
    };
    return document(next, mediaType.manifest);
  }
}

/** As Promise.all, but nothing is under way any more when it rejects. */
async function allSettled<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises);
  const failures = results.flatMap((result) =>
    result.status === "rejected" ? [result.reason as unknown] : [],
  );
  if (failures.length > 0) throw failures.find(isFirstCause) ?? failures[0];
  return Promise.all(promises);
}

/** Layers that are not begun because another one failed are not what failed. */
function isFirstCause(error: unknown): boolean {
  return !(error instanceof AppError && error.code === "cancelled");
}

function document(value: OciManifest | OciIndex, type: string): Document {
  const bytes = encodeJson(value);
  const descriptor = { mediaType: type, digest: sha256Digest(bytes), sizeBytes: bytes.length };
  return { descriptor, bytes };
}

async function* onePiece(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}
