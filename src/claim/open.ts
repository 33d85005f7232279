/**
 * The lazy side of `serve`, put together: who decides, who talks to dedupd, who promotes.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { realtimeNs } from "../../ffi/time.ts";
import type { Config } from "../config/schema.ts";
import type { BlobReader } from "../containerd/contract.ts";
import { rootOfImage } from "../layer/layer-root.ts";
import type { NodeLayerStore } from "../layer/layer-store.ts";
import type { OciDescriptor } from "../oci/schema.ts";
import { createRegistryClient } from "../registry/client.ts";
import type { RegistryClient } from "../registry/contract.ts";
import { parseReference } from "../registry/reference.ts";
import type { SnapshotMetadata } from "../snapshot/metadata.ts";
import { isBlobKnown } from "../store/layer-blobs.ts";
import { listLazyPacks } from "../store/lazy-layers.ts";
import { imagePath, type StorePaths } from "../store/paths.ts";
import type { Logger } from "../util/logger.ts";
import type { WorkerPool } from "../workers.ts";
import { AheadClaims } from "./ahead-claims.ts";
import { namedToc } from "./candidate.ts";
import { NodeLayerClaims } from "./claims.ts";
import { ImageTables } from "./image-tables.ts";
import { type DedupdCalls, type KnownPack, LazyLayers } from "./lazy-layers.ts";
import { readManifest } from "./manifest.ts";
import { registryRanges } from "./toc-ranges.ts";

/** How long a container that starts waits for dedupd, which starts in less than a second. */
const awayMs = 10_000;

export interface LazyParts {
  readonly config: Config;
  readonly paths: StorePaths;
  readonly index: Database;
  readonly metadata: SnapshotMetadata;
  readonly housekeeper: Pick<WorkerPool, "call">;
  readonly log: Logger;
}

export function lazyPacks(index: Database): KnownPack[] {
  return listLazyPacks(index).map(({ pack: packId, layer: layerId, complete }) => {
    return { packId, layerId, isComplete: complete === 1 };
  });
}

/** Asks dedupd nothing before its methods are called. */
export function openLazyLayers(
  { config, index, log }: LazyParts,
  dedupd: DedupdCalls,
  onComplete: (pack: KnownPack) => void,
): LazyLayers {
  return new LazyLayers({
    dedupd,
    packs: () => lazyPacks(index),
    onComplete,
    awayMs,
    fetchMs: config.lazy.read_timeout_ms,
    log,
  });
}

export interface OpenClaims extends Disposable {
  readonly claims: NodeLayerClaims;
}

/** Undefined where layers are always pulled. */
export function openClaims(
  { config, paths, index, metadata, log }: LazyParts,
  layers: NodeLayerStore,
  lazyLayers: LazyLayers,
  blobs: BlobReader,
): OpenClaims | undefined {
  const {
    enabled,
    allow_unverified_toc: allowUnverified,
    claim_timeout_ms: timeoutMs,
  } = config.lazy;
  if (!enabled || !config.conversion.enabled) return undefined;
  const content = { blobs, containerdRoot: config.containerd.root };
  const registries = onDemand(createRegistryClient);
  const isKnown = (layer: OciDescriptor) => isBlobKnown(index, layer.digest, namedToc(layer));
  const tables = new ImageTables({
    manifest: (request, signal) => readManifest({ content, registries }, request, signal),
    ranges: (image, digest, signal) =>
      registryRanges(registries(), parseReference(image), digest, signal),
    isKnown,
    expect: () => {
      layers.expectClaim();
      lazyLayers.expect();
    },
    allowUnverified,
    timeoutMs,
  });
  const ahead = new AheadClaims({ layers, tables, content, isKnown, timeoutMs, log });
  const claims = new NodeLayerClaims({
    layers,
    tables,
    ahead,
    rootOf: (layerId) => rootOfImage(imagePath(paths, layerId)),
    content,
    timeoutMs,
    note: (decision) => metadata.noteDecision(decision),
    onClaimed: (packId, prefetchEndBytes) => void lazyLayers.added(packId, prefetchEndBytes),
    nowNs: realtimeNs,
    log,
  });
  const close = () => {
    ahead[Symbol.dispose]();
    tables.close();
  };
  return { claims, [Symbol.dispose]: close };
}

/** Made when it is first needed: most nodes start without a network. */
function onDemand(make: () => RegistryClient): () => RegistryClient {
  let client: RegistryClient | undefined;
  return () => (client ??= make());
}
