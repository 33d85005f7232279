/**
 * dedupd put together: packs, what fills them, the backend; and what it can be asked.
 *
 * @module
 */
import { availableParallelism } from "node:os";
import type { Config } from "../config/schema.ts";
import { AppError } from "../errors.ts";
import type { RegistryClient } from "../registry/contract.ts";
import { storePaths } from "../store/paths.ts";
import { noteWork } from "../util/garbage.ts";
import type { Logger } from "../util/logger.ts";
import { version } from "../version.ts";
import { chooseBackend, type ChosenBackend } from "./backends.ts";
import { type ChannelKeeper, priority } from "./contract.ts";
import type {
  DedupdControl,
  DedupdEvents,
  DedupdStatus,
  ImageTrace,
  PackStatus,
  Prefetching,
  PrefetchRequest,
  TraceStored,
} from "./control.ts";
import { EventLog } from "./event-log.ts";
import { Exposures } from "./exposures.ts";
import { createFillEngine, type FillEngine } from "./fill/engine.ts";
import type { FillablePack } from "./fillable-pack.ts";
import { PackStore } from "./pack-store.ts";
import { failedStatus, statusOf } from "./pack-status.ts";
import { PackSyncer } from "./pack-syncer.ts";
import { openStarts, type Starts } from "./trace/open.ts";

/** They answer what is there already; each costs four megabytes. */
const backendThreadsMax = 4;

export interface OnDemandOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Undefined: nobody keeps a channel open when this process ends. */
  readonly keeper: ChannelKeeper | undefined;
  /** The process cannot go on; the next one recovers. */
  readonly onCrash: (error: AppError) => void;
  /** Default: the registries as the node is configured for them. */
  readonly client?: Pick<RegistryClient, "blobRange" | "blobParts">;
}

export class OnDemandServer implements DedupdControl {
  readonly #options: OnDemandOptions;
  readonly #startMs = performance.now();
  readonly #events = new EventLog();
  readonly #store: PackStore;
  readonly #syncer: PackSyncer;
  readonly #engine: FillEngine;
  readonly #exposures: Exposures;
  readonly #starts: Starts;
  readonly #chosen = Promise.withResolvers<ChosenBackend>();
  #current: ChosenBackend | undefined;

  constructor(options: OnDemandOptions) {
    this.#options = options;
    const { config, log, onCrash, client } = options;
    const events = this.#events;
    const store = new PackStore(storePaths(config.root).packs);
    const syncer = new PackSyncer({
      log,
      onComplete: (pack) => this.#complete(pack),
      onLost: (pack) => {
        engine.queue.postpone(pack);
        engine.filler.open(pack.packId);
      },
    });
    const engine = createFillEngine({
      config,
      events,
      log,
      onCrash,
      ...(client !== undefined && { client }),
      onFilled: (pack) => this.#noteFilled(pack),
    });
    this.#store = store;
    this.#syncer = syncer;
    this.#engine = engine;
    const takeReads = () => this.#current?.backend.takeReads?.() ?? [];
    const starts = openStarts({ config, engine, log, takeReads, packOf: (id) => store.get(id) });
    this.#starts = starts;
    this.#exposures = new Exposures({
      store,
      syncer,
      events,
      log,
      filler: engine.filler,
      onExposed: (pack, isNew) => starts.exposed(pack, isNew),
      onWithdrawn: (pack) => starts.withdrawn(pack),
    });
  }

  /**
   * Opens the channel to the kernel, then the packs that were exposed before, for which readers may
   * wait there already. Rejects where there is no backend.
   */
  async start(): Promise<void> {
    const { config, log, keeper, onCrash } = this.#options;
    try {
      const { root, lazy, mount } = config;
      this.#current = await chooseBackend(lazy.backend, {
        root,
        log,
        keeper,
        onCrash,
        threads: Math.min(backendThreadsMax, availableParallelism()),
        mountMethod: mount.method,
        inUse: this.#store.backendInUse(),
        demand: (request) => {
          this.#starts.demanded(request);
          return this.#engine.filler.demand(request);
        },
        prefetchAhead: (window) => this.#engine.filler.readAhead(window),
        reportSuspect: (packId, message) => this.#report("suspect", packId, message),
      });
    } catch (error) {
      this.#chosen.promise.catch(() => undefined);
      this.#chosen.reject(error);
      throw error;
    }
    if (this.#current.backend.name !== "eager") this.#starts.begin();
    this.#chosen.resolve(this.#current);
    // Not waited for: the backend `eager` fetches everything first.
    void this.#exposures.exposeAll(this.#current.backend);
  }

  get backendName(): string | undefined {
    return this.#current?.backend.name;
  }

  async expose(packId: number): Promise<string> {
    const { backend } = await this.#chosen.promise;
    const path = await this.#exposures.expose(packId, backend);
    const pack = this.#store.get(packId);
    if (pack?.isFull === false) this.#engine.warmUp(pack);
    return path;
  }

  async withdraw(packId: number): Promise<void> {
    const { backend } = await this.#chosen.promise;
    await this.#exposures.withdraw(packId, backend);
  }

  packs(): PackStatus[] {
    const { packs, failures } = this.#store;
    const failed = [...failures].map(([packId, error]) => failedStatus(packId, error));
    return [...[...packs].map((pack) => this.#statusOf(pack)), ...failed];
  }

  pack(packId: number): PackStatus {
    const pack = this.#store.get(packId);
    if (pack !== undefined) return this.#statusOf(pack);
    const failure = this.#store.failures.get(packId);
    if (failure !== undefined) return failedStatus(packId, failure);
    throw new AppError("not_found", `Lazy pack ${packId} is not exposed`);
  }

  prefetch(packId: number, request: PrefetchRequest): Prefetching {
    const isLandmark = request.blobEndBytes !== undefined;
    if (isLandmark && this.#starts.knows(packId)) return { pieces: 0, bytes: 0 };
    return this.#engine.filler.prefetch(packId, request);
  }

  trace(image: string): ImageTrace {
    return this.#starts.trace(image);
  }

  putTrace(image: string, trace: ImageTrace): TraceStored {
    return this.#starts.putTrace(image, trace);
  }

  async status(): Promise<DedupdStatus> {
    const { backend, reasons } = await this.#chosen.promise;
    const { queue, policy, counts, usefulness } = this.#engine;
    const traces = this.#starts.status();
    const unserved = this.#exposures.unserved();
    const paused = policy.hindrance(priority.background);
    return {
      version,
      pid: process.pid,
      uptimeSeconds: Math.floor((performance.now() - this.#startMs) / 1000),
      backend: backend.name,
      backendReasons: reasons,
      packs: [...this.#store.packs].length,
      residentBytes: process.memoryUsage.rss(),
      queued: queue.waiting,
      inFlight: queue.inFlight,
      suspects: backend.suspects?.() ?? [],
      ...(unserved.length > 0 && { unserved }),
      ...(paused !== undefined && { backgroundPaused: paused }),
      counters: counts,
      prefetched: usefulness.figures,
      traces,
    };
  }

  events(after: number): Promise<DedupdEvents> {
    return this.#events.after(after);
  }

  /**
   * Leaves the channel to its keeper first: who waits for content then waits for the next process.
   * What came is on disk when it resolves.
   */
  async close(): Promise<void> {
    this.#starts.close();
    this.#exposures.close();
    const current = this.#current;
    // What is synced below is not complete for a channel that is closed, but for the next process.
    this.#current = undefined;
    await current?.backend.close();
    this.#engine.close();
    this.#events.close();
    await this.#syncer.close(this.#store.packs);
  }

  #statusOf(pack: FillablePack): PackStatus {
    return statusOf(pack, this.#engine.queue.isActive(pack), performance.now());
  }

  #noteFilled(pack: FillablePack): void {
    this.#syncer.note(pack);
    if (this.#engine.queue.inFlight === 0) noteWork();
  }

  async #complete(pack: FillablePack): Promise<void> {
    const { packId } = pack;
    this.#starts.completed(pack);
    if (this.#exposures.isExposed(packId)) await this.#current?.backend.complete(pack);
    this.#options.log.info(
      { packId, digest: pack.pieces.origin.digest },
      "a lazy pack is complete",
    );
    this.#report("complete", packId, "all content is there");
  }

  #report(kind: "complete" | "suspect", packId: number, message: string): void {
    const image = this.#store.get(packId)?.pieces.origin.image ?? "";
    this.#events.add({ kind, packId, image, message });
  }
}
