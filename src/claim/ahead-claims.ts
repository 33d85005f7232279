/**
 * Layers that are made before containerd asks for them: it asks for one after the other, and takes
 * the next only once the last is there, but the manifest tells them all with the first.
 *
 * It works because of a layer below, nothing is needed but the attributes of its root directory,
 * which all layers of an image have from the first (layer/tar-tree.ts). A layer that does need more
 * fails here and is made when it is asked for. What nobody asks for is deleted after a while.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { blobFile, type ContentStore } from "../containerd/content-store.ts";
import { parseDigest } from "../containerd/descriptor.ts";
import { describeError } from "../errors.ts";
import type { OciDescriptor } from "../oci/schema.ts";
import type {
  ClaimedLayer,
  ClaimRequest,
  LayerBase,
  LazyLayerStore,
} from "../snapshot/contract.ts";
import type { Logger } from "../util/logger.ts";
import { type ImageTables, lazyTable, releaseTable, type TableAnswer } from "./image-tables.ts";

/** As long as tables are kept. */
const keptMs = 60_000;

export interface AheadClaimsOptions {
  readonly layers: LazyLayerStore;
  readonly tables: Pick<ImageTables, "tableAhead" | "manifest">;
  readonly content: Pick<ContentStore, "containerdRoot">;
  /** Whether the layer is there as the image means it, so that it need not be made. */
  readonly isKnown: (layer: OciDescriptor) => boolean;
  readonly timeoutMs: number;
  readonly log: Logger;
}

/** What became of a layer that was begun. */
export interface AheadClaim {
  /**
   * Rejects where the table could not be had; undefined where there was no room for it. Released
   * where there is a layer.
   */
  readonly answer: Promise<TableAnswer | undefined>;
  /** Protected; undefined where it has to be made still, if it can be. */
  readonly layer: ClaimedLayer | undefined;
}

interface Begun {
  readonly root: LayerBase["root"];
  readonly answer: Promise<TableAnswer | undefined>;
  /** Never rejects. */
  readonly layer: Promise<ClaimedLayer | undefined>;
  readonly expiry: Timer;
}

export class AheadClaims implements Disposable {
  readonly #options: AheadClaimsOptions;
  readonly #begun = new Map<string, Begun>();

  constructor(options: AheadClaimsOptions) {
    this.#options = options;
  }

  /** Begins with the other layers of an image of which one is claimed. */
  async begin(request: ClaimRequest): Promise<void> {
    const { tables, isKnown, log } = this.#options;
    try {
      const { layers } = await tables.manifest(request);
      for (const layer of layers) {
        const { digest } = layer;
        if (digest === request.layerDigest || this.#begun.has(keyOf(request, digest))) continue;
        if (!isKnown(layer) && !this.#isDownloaded(digest)) this.#add(request, digest);
      }
    } catch (error) {
      // Whoever asks for a layer is told.
      log.debug({ reason: describeError(error) }, "layers are not made ahead");
    }
  }

  /** What was begun of the layer, when it is done; it is the caller's then. */
  async take(request: ClaimRequest): Promise<AheadClaim | undefined> {
    const key = keyOf(request, request.layerDigest);
    const begun = this.#begun.get(key);
    if (begun === undefined) return undefined;
    this.#forget(key, begun);
    const { answer } = begun;
    const layer = await begun.layer;
    if (layer === undefined) return { answer, layer };
    if (isFor(begun.root, request.base)) {
      releaseTable(answer);
      return { answer, layer };
    }
    this.#drop(layer);
    return { answer, layer: undefined };
  }

  [Symbol.dispose](): void {
    for (const [key, begun] of this.#begun) this.#forget(key, begun);
  }

  #add(request: ClaimRequest, digest: string): void {
    const { tables, timeoutMs } = this.#options;
    const { root } = request.base;
    const signal = AbortSignal.timeout(timeoutMs);
    const answer = tables.tableAhead(request, digest);
    const layer = this.#make(request.image, digest, root, answer, signal);
    const key = keyOf(request, digest);
    const expiry = setTimeout(() => this.#expire(key), keptMs);
    expiry.unref();
    this.#begun.set(key, { root, answer, layer, expiry });
  }

  async #make(
    image: string,
    digest: string,
    root: LayerBase["root"],
    answer: Promise<TableAnswer | undefined>,
    signal: AbortSignal,
  ): Promise<ClaimedLayer | undefined> {
    const { layers, log } = this.#options;
    try {
      const table = await answer;
      if (table === undefined || "reason" in table) return undefined;
      const base = { root, lower: "unknown" } as const;
      return await layers.claim(lazyTable(table, image, digest), base, signal);
    } catch (error) {
      log.debug({ blob: digest, reason: describeError(error) }, "a layer is not made ahead");
      return undefined;
    }
  }

  #isDownloaded(layerDigest: string): boolean {
    const digest = parseDigest(layerDigest);
    return (
      digest !== undefined && existsSync(blobFile(this.#options.content.containerdRoot, digest))
    );
  }

  #expire(key: string): void {
    const begun = this.#begun.get(key);
    if (begun === undefined) return;
    this.#forget(key, begun);
    releaseTable(begun.answer);
    void begun.layer.then((layer) => layer && this.#drop(layer));
  }

  #forget(key: string, { expiry }: Begun): void {
    clearTimeout(expiry);
    this.#begun.delete(key);
  }

  #drop({ layerId }: ClaimedLayer): void {
    const { layers, log } = this.#options;
    layers.settle(layerId);
    layers.release([layerId]).catch((error: unknown) => {
      log.warn({ layerId, reason: describeError(error) }, "cannot delete a layer");
    });
  }
}

function keyOf({ image, manifestDigest }: ClaimRequest, digest: string): string {
  return `${manifestDigest} ${image} ${digest}`;
}

/** Whether it is what the layer lies on. */
function isFor({ mode, uid, gid }: LayerBase["root"], { root, lower }: LayerBase): boolean {
  return lower === "unknown" && root.mode === mode && root.uid === uid && root.gid === gid;
}
