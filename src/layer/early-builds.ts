/**
 * Layers that are built while containerd still downloads their blobs, before it has them applied.
 *
 * An early build is a wager: nothing depends on it, and whatever goes wrong with it is forgotten,
 * since Apply builds the layer then as if there had been none. What it builds waits for Apply as a
 * published layer that no snapshot has. So it takes no memory, and is deleted when nobody comes for
 * it, by the next start at the latest.
 *
 * Several large layers at once would take more memory than one daemon should have. So a build
 * begins only while there is enough left, and the newest one is given up when there is too little.
 *
 * @module
 */
import { describeError } from "../errors.ts";
import type { BlobLayer, LayerBlob } from "../snapshot/contract.ts";
import { cancel, makeCancelFlag } from "../util/cancel-flag.ts";
import { MiB } from "../util/bytes.ts";
import type { Logger } from "../util/logger.ts";
import type { DownloadedBlob } from "./blob-reads.ts";

/** Layers that are built or wait ahead of Apply: as much is lost if nobody comes for them. */
const aheadMax = 8;
/** Downloads that may wait for their turn; containerd's overlay takes as many layers. */
const waitingMax = 128;
/** Memory of the process: up to where a build begins, and from where on the newest one ends. */
const beginBytesMax = 210 * MiB;
const residentBytesMax = 265 * MiB;
/** How often it is looked at while builds are under way or wait for memory. */
const memoryCheckMs = 250;
/** How long a layer waits for its Apply, which comes when the layers below it are unpacked. */
const keptMs = 900_000;

export interface EarlyCounts {
  /** Builds begun before Apply. */
  started: number;
  /** Of them, those whose layer became Apply's. */
  used: number;
  /** Of them, those that failed, or whose layer nobody came for or could use. */
  dropped: number;
}

export interface EarlyBuildsOptions {
  /** Layers built at the same time, those of Apply included; one is left for the next Apply. */
  readonly workers: number;
  /** Whether the layer is there already. */
  readonly isKnown: (blob: LayerBlob) => boolean;
  /** Builds the layer, protected. */
  readonly build: (blob: DownloadedBlob, signal: AbortSignal) => Promise<BlobLayer>;
  /** Ends the protection; an unused layer is deleted. */
  readonly end: (layerId: number, isUsed: boolean) => void;
  readonly keptMs?: number;
  /** Memory of the process. */
  readonly residentBytes?: () => number;
  readonly log: Logger;
}

/** Undefined where it could not be built; never rejects. */
type EarlyLayer = Promise<BlobLayer | undefined>;

/** What Apply gets of an early build. Disposing of it gives up what was not taken. */
export interface EarlyClaim extends Disposable {
  readonly layer: EarlyLayer;
  /** The layer is what Apply wants. */
  take(): void;
}

interface EarlyBuild {
  readonly blob: DownloadedBlob;
  readonly abort: AbortController;
  /** Undefined until it has begun. */
  layer?: EarlyLayer;
  /** It is under way, and Apply has not come for it. */
  isAhead: boolean;
  /** Runs while a layer waits for its Apply. */
  timer?: Timer;
}

export class EarlyBuilds {
  readonly counts: EarlyCounts = { started: 0, used: 0, dropped: 0 };
  readonly #options: EarlyBuildsOptions;
  /** By digest, in the order they came; those that Apply came for are not among them. */
  readonly #builds = new Map<string, EarlyBuild>();
  /** Builds under way that Apply has not come for. */
  #ahead = 0;
  /** Applies under way. */
  #applying = 0;
  #memoryTimer: Timer | undefined;
  /** A build was given up for its memory, and has not let go of it. */
  #isEnding = false;
  #isWanted = true;

  constructor(options: EarlyBuildsOptions) {
    this.#options = options;
  }

  /** Has the layer of a blob built while it grows in `file`, when there is a free worker. */
  offer(blob: LayerBlob, file: string): void {
    if (!this.#isWanted || this.#builds.has(blob.digest)) return;
    if (this.#builds.size >= waitingMax) return;
    const download = { file, isOver: makeCancelFlag() };
    this.#builds.set(blob.digest, {
      blob: { ...blob, download },
      abort: new AbortController(),
      isAhead: false,
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
    const abort = (): void => build?.abort.abort();
    if (build !== undefined) cancel(build.blob.download.isOver);
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    this.#applying += 1;
    this.#startNext();
    let isTaken = false;
    return {
      layer: build?.layer ?? Promise.resolve(undefined),
      take: () => (isTaken = true),
      [Symbol.dispose]: () => {
        signal.removeEventListener("abort", abort);
        this.#applying -= 1;
        void this.#end(build, isTaken);
        this.#startNext();
      },
    };
  }

  /** Begins nothing until the next Apply: containerd has its layers unpacked by somebody else. */
  standDown(): void {
    this.#isWanted = false;
    for (const [digest, { layer }] of this.#builds) if (layer === undefined) this.#forget(digest);
    this.#watchMemory();
  }

  /**
   * Begins what waits for memory, or ends the newest build; called now and then while there is any.
   * Apply builds the layer when it comes for it, as if there had been none.
   */
  checkMemory(): void {
    if (this.#residentBytes() <= residentBytesMax) {
      this.#startNext();
      return;
    }
    const newest = [...this.#builds].findLast(([, { isAhead }]) => isAhead);
    if (newest === undefined || this.#isEnding) return;
    const [digest, { layer }] = newest;
    this.#isEnding = true;
    void layer?.finally(() => (this.#isEnding = false));
    this.#options.log.info(
      { blob: digest },
      `memory is short: layer ${digest} waits for its Apply`,
    );
    this.#drop(digest);
  }

  /** Gives up what is under way and what waits; resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.standDown();
    const layers = [...this.#builds.values()].flatMap(({ layer }) => layer ?? []);
    for (const digest of this.#builds.keys()) this.#drop(digest);
    await Promise.all(layers);
  }

  #forget(digest: string): EarlyBuild | undefined {
    const build = this.#builds.get(digest);
    if (build === undefined) return undefined;
    clearTimeout(build.timer);
    this.#builds.delete(digest);
    this.#leave(build);
    return build;
  }

  #leave(build: EarlyBuild): void {
    if (build.isAhead) this.#ahead -= 1;
    build.isAhead = false;
  }

  #drop(digest: string): void {
    const build = this.#forget(digest);
    if (build === undefined) return;
    cancel(build.blob.download.isOver);
    build.abort.abort();
    void this.#end(build, false);
  }

  async #end(build: EarlyBuild | undefined, isUsed: boolean): Promise<void> {
    const layer = await build?.layer;
    if (layer === undefined) return;
    this.counts[isUsed ? "used" : "dropped"] += 1;
    this.#options.end(layer.layerId, isUsed);
  }

  #hasRoom(): boolean {
    const { workers } = this.#options;
    return this.#ahead + this.#applying < workers && this.#ahead < Math.max(1, workers - 1);
  }

  #residentBytes(): number {
    return this.#options.residentBytes?.() ?? process.memoryUsage.rss();
  }

  #startNext(): void {
    for (const [digest, build] of [...this.#builds].slice(0, aheadMax)) {
      if (!this.#hasRoom()) break;
      if (build.layer === undefined && this.#residentBytes() > beginBytesMax) break;
      build.layer ??= this.#run(digest, build);
    }
    this.#watchMemory();
  }

  /** Runs while there is a build that may begin, or end. */
  #watchMemory(): void {
    const isNeeded = [...this.#builds.values()].some(
      ({ layer, isAhead }) => layer === undefined || isAhead,
    );
    if (isNeeded === (this.#memoryTimer !== undefined)) return;
    clearInterval(this.#memoryTimer);
    this.#memoryTimer = isNeeded ? setInterval(() => this.checkMemory(), memoryCheckMs) : undefined;
    this.#memoryTimer?.unref();
  }

  async #run(digest: string, build: EarlyBuild): Promise<BlobLayer | undefined> {
    const { isKnown, keptMs: waitsMs = keptMs, log } = this.#options;
    this.#ahead += 1;
    build.isAhead = true;
    try {
      if (isKnown(build.blob)) {
        this.#forget(digest);
        return undefined;
      }
      this.counts.started += 1;
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
      this.#leave(build);
      this.#startNext();
    }
  }
}
