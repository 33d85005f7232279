/**
 * Which layers are applied here, and which are left to containerd.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import type { AppliedBlob, LayerBlob, Mount } from "../snapshot/contract.ts";
import type { Logger } from "../util/logger.ts";
import { openBlob } from "./content-store.ts";
import type { BlobReader, CallScope } from "./contract.ts";
import { isLayerType, layerTarType, parseDigest, type Descriptor } from "./descriptor.ts";

export interface ApplyCall {
  readonly blob: Descriptor;
  readonly mounts: readonly Mount[];
  /** Whether a stream processor of containerd, such as decryption, has to see the blob first. */
  readonly needsProcessor: boolean;
  readonly scope: CallScope;
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal;
}

/** The snapshotter, as far as layers are applied to it. */
export interface BlobTaker {
  /**
   * Makes the blob the content of the active snapshot the mounts are of; undefined where they are
   * not of one that can take it. Rejects with `unimplemented` where the blob is as it should be,
   * but has something we cannot read.
   */
  applyBlob(
    mounts: readonly Mount[],
    blob: LayerBlob,
    signal: AbortSignal,
  ): Promise<AppliedBlob | undefined>;
}

export interface DiffServiceOptions {
  readonly snapshots: BlobTaker;
  readonly blobs: BlobReader;
  /** containerd's root folder. */
  readonly containerdRoot: string;
  /** False: everything is left to containerd. */
  readonly isEnabled: boolean;
  readonly log: Logger;
}

export class DiffService {
  readonly #options: DiffServiceOptions;

  constructor(options: DiffServiceOptions) {
    this.#options = options;
  }

  /** Resolves with the descriptor of the tar; with undefined where containerd has to do it. */
  async apply(call: ApplyCall): Promise<Descriptor | undefined> {
    const { snapshots, isEnabled, log } = this.#options;
    const { digest, mediaType } = call.blob;
    const blob = this.#blobOf(call);
    if (!isEnabled || blob === undefined || call.needsProcessor || !isLayerType(mediaType)) {
      log.debug({ digest, mediaType }, `layer ${digest} is left to containerd's differ`);
      return undefined;
    }
    try {
      const applied = await snapshots.applyBlob(call.mounts, blob, call.signal);
      if (applied === undefined) return undefined;
      return { mediaType: layerTarType, digest: applied.diffId, sizeBytes: applied.tarBytes };
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "unimplemented") throw error;
      const reason = describeError(error);
      log.warn({ digest, reason }, `layer ${digest} is left to containerd's differ: ${reason}`);
      return undefined;
    }
  }

  #blobOf({ blob, scope }: ApplyCall): LayerBlob | undefined {
    const { blobs, containerdRoot } = this.#options;
    if (parseDigest(blob.digest) === undefined) return undefined;
    return openBlob({ blobs, containerdRoot }, { ...blob, namespace: scope.namespace }, scope);
  }
}
