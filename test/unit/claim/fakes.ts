/** An image whose layers are lazy, and a store that claims them without building anything. */
import { lazyBlob, type MemoryBlob } from "../../support/lazy/lazy-blob.ts";
import { rawTar } from "../../support/tar/raw-tar.ts";
import type { BlobRange, LazyFormat } from "../../../src/lazy/model.ts";
import type { OciDescriptor, OciManifest } from "../../../src/oci/schema.ts";
import type { ReadRange } from "../../../src/claim/toc-ranges.ts";
import type {
  ClaimedLayer,
  LayerBase,
  LazyTable,
  LazyLayerStore,
} from "../../../src/snapshot/contract.ts";

export const gzipType = "application/vnd.oci.image.layer.v1.tar+gzip";

export function makeBlob(name: string, format: LazyFormat = "estargz"): Promise<MemoryBlob> {
  const tar = rawTar([{ name, content: `content of ${name}` }]);
  return lazyBlob(tar, format);
}

export function descriptorOf(blob: MemoryBlob, more: Partial<OciDescriptor> = {}): OciDescriptor {
  const { digest, sizeBytes: size, annotations } = blob;
  return { mediaType: gzipType, digest, size, annotations: { ...annotations }, ...more };
}

export function manifestOf(layers: readonly OciDescriptor[]): OciManifest {
  const config = { mediaType: "config", digest: `sha256:${"00".repeat(32)}`, size: 1 };
  return { schemaVersion: 2, config, layers: [...layers] };
}

/** Counts what is read of blobs. */
export class FakeRegistry {
  readonly blobs = new Map<string, MemoryBlob>();
  readonly reads: { readonly digest: string; readonly range: BlobRange }[] = [];
  gate: Promise<unknown> = Promise.resolve();
  failure: unknown;

  add(...blobs: readonly MemoryBlob[]): void {
    for (const blob of blobs) this.blobs.set(blob.digest, blob);
  }

  readonly ranges = (_: string, digest: string, signal: AbortSignal): ReadRange => {
    return async (range) => {
      this.reads.push({ digest, range });
      await Promise.race([this.gate, aborted(signal)]);
      if (this.failure !== undefined) throw this.failure;
      const { offsetBytes, lengthBytes } = range;
      return this.blobs.get(digest)!.bytes.subarray(offsetBytes, offsetBytes + lengthBytes);
    };
  };
}

/** Rejects when the signal is aborted. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error));
  });
}

/** Knows what it is told; claims everything else, unless it is to fail. */
export class FakeLazyStore implements LazyLayerStore {
  readonly known = new Map<string, ClaimedLayer>();
  readonly claimed: { readonly blob: LazyTable; readonly base: LayerBase }[] = [];
  readonly settled: number[] = [];
  readonly released: number[] = [];
  readonly failures: unknown[] = [];
  gate: Promise<unknown> = Promise.resolve();

  async claim(blob: LazyTable, base: LayerBase): Promise<ClaimedLayer> {
    this.claimed.push({ blob, base });
    await this.gate;
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    return claimedLayer(this.claimed.length, true);
  }

  async findClaimed(digest: string, tocDigest?: string): Promise<ClaimedLayer | undefined> {
    const layer = this.known.get(digest);
    return layer?.tocDigest === undefined || layer.tocDigest === tocDigest ? layer : undefined;
  }

  settle(layerId: number): void {
    this.settled.push(layerId);
  }

  async release(layerIds: readonly number[]): Promise<void> {
    this.released.push(...layerIds);
  }
}

export function claimedLayer(layerId: number, isLazy: boolean, diffId?: string): ClaimedLayer {
  const packId = isLazy ? 512 + layerId : undefined;
  const state = isLazy ? ("fetching" as const) : ("complete" as const);
  const layer = { layerId, addedBytes: 4096, inodes: 2, reused: false, isLazy, packId, state };
  return diffId === undefined ? layer : { ...layer, reused: true, diffId };
}
