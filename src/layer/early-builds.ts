/**
 * Layers that are built while containerd still downloads their blobs, before it has them applied.
 *
 * An early build is a wager: nothing depends on it, and whatever goes wrong with it is forgotten,
 * since Apply builds the layer then as if there had been none. What it builds waits for Apply as a
 * published layer that no snapshot has. So it costs no memory, and is deleted when nobody comes for
 * it, by the next start at the latest.
 *
 * @module
 */
import { describeError } from "../errors.ts";
import type { BlobLayer, LayerBlob } from "../snapshot/contract.ts";
import { cancel, makeCancelFlag } from "../util/cancel-flag.ts";
import type { Logger } from "../util/logger.ts";
import type { DownloadedBlob } from "./blob-reads.ts";

/** Layers that are built or wait ahead of Apply: as much is lost if nobody comes for them. */
const aheadMax = 8;
/** Downloads that may wait for their turn; containerd's overlay takes as many layers. */
const waitingMax = 128;
/** How long a layer waits for its Apply, which comes when the layers below it are unpacked. */
const keptMs = 900_000;

export interface EarlyCounts {
  /** Builds begun before Apply. */
  started: number;
  /** Of them, those whose layer became Apply's. */
  used: number;
  /** Of them, those that failed, or that nobody could use. */
  dropped: number;
}

export interface EarlyBuildsOptions {
  /** Builds at the same time. */
  readonly slots: number;
  /** Whether the layer is there already. */
  readonly isKnown: (blob: LayerBlob) => boolean;
  /** Builds the layer, protected. */
  readonly build: (blob: DownloadedBlob, signal: AbortSignal) => Promise<BlobLayer>;
  /** Ends the protection; an unused layer is deleted. */
  readonly end: (layerId: number, isUsed: boolean) => void;
  readonly keptMs?: number;
  readonly log: Logger;
}

/** What Apply gets of an early build. Disposing of it gives up what was not taken. */
export interface EarlyClaim extends Disposable {
  /** Undefined where there is none; never rejects. */
  readonly layer: Promise<BlobLayer | undefined>;
  /** The layer is what Apply wants. */
  take(): void;
}

const noClaim: EarlyClaim = {
  layer: Promise.resolve(undefined),
  take: () => undefined,
  [Symbol.dispose]: () => undefined,
};

interface EarlyBuild {
  readonly blob: DownloadedBlob;
  readonly abort: AbortController;
  /** Undefined until it has begun. */
  layer: Promise<BlobLayer | undefined> | undefined;
  /** Runs while a layer waits for its Apply. */
  timer: Timer | undefined;
}

export class EarlyBuilds {
  readonly counts: EarlyCounts = { started: 0, used: 0, dropped: 0 };
  readonly #options: EarlyBuildsOptions;
  /** By digest, in the order they came; those that Apply came for are not among them. */
  readonly #builds = new Map<string, EarlyBuild>();
  #running = 0;
  #isWanted = true;

  constructor(options: EarlyBuildsOptions) {
    this.#options = options;
  }

  /** Has the layer of a blob built when there is a free slot. */
  offer(blob: LayerBlob, file: string): void {
    if (!this.#isWanted || this.#builds.has(blob.digest)) return;
    if (this.#builds.size >= waitingMax) return;
    this.#builds.set(blob.digest, {
      blob: { ...blob, download: { file, isOver: makeCancelFlag() } },
      abort: new AbortController(),
      layer: undefined,
      timer: undefined,
    });
    this.#startNext();
  }

  /**
   * To be called once by each Apply: the blob is there, so its download does not grow any more.
   *
   * @param signal ends the build, as nobody waits for it any more
   */
  claim(digest: string, signal: AbortSignal): EarlyClaim {
    this.#isWanted = true;
    const build = this.#forget(digest);
    if (build?.layer === undefined) return noClaim;
    this.#startNext();
    const abort = (): void => build.abort.abort();
    cancel(build.blob.download.isOver);
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    let isTaken = false;
    return {
      layer: build.layer,
      take: () => (isTaken = true),
      [Symbol.dispose]: () => {
        signal.removeEventListener("abort", abort);
        void this.#end(build, () => isTaken);
      },
    };
  }

  /** Forgets all there is: containerd has its layers unpacked by somebody else. */
  dismiss(): void {
    this.#isWanted = false;
    for (const digest of this.#builds.keys()) this.#drop(digest);
  }

  /** Resolves when nothing is under way any more. */
  async close(): Promise<void> {
    const layers = [...this.#builds.values()].flatMap(({ layer }) => layer ?? []);
    this.dismiss();
    await Promise.all(layers);
  }

  #forget(digest: string): EarlyBuild | undefined {
    const build = this.#builds.get(digest);
    clearTimeout(build?.timer);
    this.#builds.delete(digest);
    return build;
  }

  #drop(digest: string): void {
    const build = this.#forget(digest);
    if (build?.layer === undefined) return;
    cancel(build.blob.download.isOver);
    build.abort.abort();
    void this.#end(build, () => false);
  }

  async #end({ layer }: EarlyBuild, isUsed: () => boolean): Promise<void> {
    const built = await layer;
    if (built === undefined) return;
    this.counts[isUsed() ? "used" : "dropped"] += 1;
    this.#options.end(built.layerId, isUsed());
  }

  #startNext(): void {
    let ahead = 0;
    for (const [digest, build] of this.#builds) {
      if (this.#running >= this.#options.slots || ahead >= aheadMax) return;
      if (build.layer === undefined && this.#options.isKnown(build.blob)) this.#forget(digest);
      else ahead += 1;
      if (this.#builds.has(digest)) build.layer ??= this.#run(digest, build);
    }
  }

  async #run(digest: string, build: EarlyBuild): Promise<BlobLayer | undefined> {
    const { keptMs: waitsMs = keptMs, log } = this.#options;
    this.#running += 1;
    this.counts.started += 1;
    try {
      const layer = await this.#options.build(build.blob, build.abort.signal);
      if (this.#builds.get(digest) !== build) return layer;
      build.timer = setTimeout(() => this.#drop(digest), waitsMs);
      build.timer.unref();
      return layer;
    } catch (error) {
      this.counts.dropped += 1;
      if (this.#builds.get(digest) === build) this.#forget(digest);
      const fields = { blob: digest, reason: describeError(error) };
      log.debug(fields, `layer ${digest} is not built before it is applied`);
      return undefined;
    } finally {
      this.#running -= 1;
      this.#startNext();
    }
  }
}
