/**
 * The decision which layers are lazy, and their claim.
 *
 * Whatever cannot be decided in time, or fails, is pulled as ever; the reason is kept for people.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { blobFile, type ContentStore } from "../containerd/content-store.ts";
import { parseDigest } from "../containerd/descriptor.ts";
import { AppError, describeError } from "../errors.ts";
import type {
  ClaimedLayer,
  ClaimRequest,
  LayerBase,
  LayerClaims,
  LayerDecision,
  LayerName,
  LazyTable,
  LazyLayerStore,
} from "../snapshot/contract.ts";
import { sha256Digest } from "../util/digest.ts";
import type { Logger } from "../util/logger.ts";
import type { AheadClaims } from "./ahead-claims.ts";
import { isFirstLayer, namedToc } from "./candidate.ts";
import { type ImageTables, lazyTable } from "./image-tables.ts";
import { beforeDeadline } from "./deadline.ts";

export interface LayerClaimsOptions {
  readonly layers: LazyLayerStore;
  readonly tables: Pick<ImageTables, "table" | "manifest">;
  readonly ahead: Pick<AheadClaims, "begin" | "take">;
  readonly rootOf: (layerId: number) => LayerBase["root"];
  readonly content: Pick<ContentStore, "containerdRoot">;
  readonly timeoutMs: number;
  readonly note: (decision: LayerDecision) => void;
  /** A lazy layer was made just now. */
  readonly onClaimed: (packId: number, prefetchEndBytes: number) => void;
  readonly nowNs: () => bigint;
  readonly log: Logger;
}

/** Since the start. Names as in the JSON. */
export interface ClaimCounts {
  /** Layers whose content is fetched later. */
  lazy: number;
  /** Layers whose content was on the node. */
  present: number;
  /** Layers that could not be claimed, for whatever reason. */
  not_lazy: number;
  /** Wall time of all claims. */
  seconds: number;
}

/** Why a layer is not claimed; not a failure of anything. */
class Refusal extends AppError {
  override readonly name = "Refusal";
  constructor(reason: string) {
    super("failed_precondition", reason);
  }
}

export class NodeLayerClaims implements LayerClaims {
  readonly counts: ClaimCounts = { lazy: 0, present: 0, not_lazy: 0, seconds: 0 };
  readonly #options: LayerClaimsOptions;

  constructor(options: LayerClaimsOptions) {
    this.#options = options;
  }

  rootOf(layerId: number): LayerBase["root"] {
    return this.#options.rootOf(layerId);
  }

  async claim(request: ClaimRequest): Promise<ClaimedLayer | undefined> {
    const startMs = performance.now();
    try {
      const layer = await this.#claimInTime(request);
      this.#note(request, layer.state === "fetching" ? "lazy" : "present", "", layer.layerId);
      const { packId, reused, prefetchEndBytes = 0 } = layer;
      if (packId !== undefined && !reused) this.#options.onClaimed(packId, prefetchEndBytes);
      return layer;
    } catch (error) {
      this.#note(request, "not lazy", describeError(error), undefined);
      return undefined;
    } finally {
      this.counts.seconds += (performance.now() - startMs) / 1000;
    }
  }

  async names(request: LayerName, tocDigest: string): Promise<boolean> {
    if ((await this.#namedToc(request)) === tocDigest) return true;
    const reason = "its chain ID is taken by a layer that was made of another table of contents";
    this.#note(request, "not lazy", reason, undefined);
    return false;
  }

  #note(
    { image, layerDigest: digest }: LayerName,
    decision: LayerDecision["decision"],
    reason: string,
    layerId: number | undefined,
  ): void {
    const { note, nowNs, log } = this.#options;
    this.counts[decision === "not lazy" ? "not_lazy" : decision] += 1;
    const because = reason === "" ? "" : `: ${reason}`;
    log.info(
      { audit: true, event: "claim", image, blob: digest, decision, reason, layerId },
      `layer ${digest} is ${decision}${because}`,
    );
    try {
      note({ image, digest, decision, reason, timeNs: nowNs(), layerId });
    } catch (error) {
      log.warn({ reason: describeError(error) }, "cannot note what was decided of a layer");
    }
  }

  /** Rejects with the reason for which the layer has to be pulled. */
  #claimInTime(request: ClaimRequest): Promise<ClaimedLayer> {
    const { timeoutMs } = this.#options;
    const signal = AbortSignal.timeout(timeoutMs);
    const late = `it took more than ${timeoutMs} ms (lazy.claim_timeout_ms)`;
    return beforeDeadline(this.#decide(request, signal), signal, new Refusal(late), (layer) =>
      this.#drop(layer),
    );
  }

  async #decide(request: ClaimRequest, signal: AbortSignal): Promise<ClaimedLayer> {
    const { layers, content, tables, ahead } = this.#options;
    const { layerDigest, base } = request;
    const digest = parseDigest(layerDigest);
    if (digest === undefined) throw new Refusal(`"${layerDigest}" is no digest`);
    if (base.lower !== "unknown") await this.#refuseOthersThanFirst(request);
    const begun = await ahead.take(request);
    if (begun?.layer !== undefined) return this.#checked(request, begun.layer);
    const known = await layers.findClaimed(layerDigest, await this.#namedToc(request), base);
    if (known !== undefined) return this.#checked(request, known);
    if (existsSync(blobFile(content.containerdRoot, digest))) {
      throw new Refusal("containerd has its blob already");
    }
    const asked = begun?.answer ?? tables.table(request, layerDigest, signal);
    if (begun === undefined) void ahead.begin(request);
    const answer = (await asked) ?? (await tables.table(request, layerDigest, signal));
    if ("reason" in answer) throw new Refusal(answer.reason);
    using table = answer;
    signal.throwIfAborted();
    const blob = lazyTable(table, request.image, layerDigest);
    return this.#checked(request, await this.#make(blob, request, signal));
  }

  /** What the image's manifest vouches for; one that cannot be had vouches for nothing. */
  async #namedToc(request: LayerName): Promise<string | undefined> {
    const manifest = await this.#options.tables.manifest(request).catch(() => undefined);
    const layer = manifest?.layers.find(({ digest }) => digest === request.layerDigest);
    return layer && namedToc(layer);
  }

  async #refuseOthersThanFirst(request: ClaimRequest): Promise<void> {
    const manifest = await this.#options.tables.manifest(request);
    if (isFirstLayer(manifest, request.layerDigest)) return;
    throw new Refusal('containerd unpacks layers side by side (capability "rebase")');
  }

  /** Most layers need nothing of those below, which are mounted for the others. */
  async #make(blob: LazyTable, request: ClaimRequest, signal: AbortSignal): Promise<ClaimedLayer> {
    const { layers } = this.#options;
    try {
      return await layers.claim(blob, request.base, signal);
    } catch (error) {
      const needsLower = error instanceof AppError && error.code === "failed_precondition";
      if (!needsLower || request.base.lower !== "unknown") throw error;
      // Whoever asked has released by then what is mounted for it.
      signal.throwIfAborted();
      return await layers.claim(blob, await request.mountedBase(), signal);
    }
  }

  /**
   * A layer that was made of the whole blob has a digest of its own, of which the chain ID must be
   * made: an image that lies about it is for containerd to refuse.
   */
  #checked({ target, parentTarget }: ClaimRequest, layer: ClaimedLayer): ClaimedLayer {
    const { diffId } = layer;
    if (diffId === undefined || target === chainIdOf(parentTarget, diffId)) return layer;
    this.#drop(layer);
    throw new Refusal("its content is not what the image's configuration says");
  }

  #drop({ layerId }: ClaimedLayer): void {
    const { layers, log } = this.#options;
    layers.settle(layerId);
    layers.release([layerId]).catch((error: unknown) => {
      log.warn({ layerId, reason: describeError(error) }, "cannot delete a layer");
    });
  }
}

/** OCI image specification, config.md: ChainID(L1..Ln) = SHA-256(ChainID(L1..Ln-1) + " " + Ln). */
function chainIdOf(parent: string | undefined, diffId: string): string {
  if (parent === "") return diffId;
  return parent === undefined ? "" : sha256Digest(Buffer.from(`${parent} ${diffId}`));
}
