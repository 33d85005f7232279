/**
 * What the parts of a node share: its configuration, its root, and its worker threads.
 *
 * @module
 */
import type { Config } from "./config/schema.ts";
import type { ExtentCodec } from "./erofs/extent-codec.ts";
import type { AppError } from "./errors.ts";
import { claimThreadsKept, claimThreadsMax } from "./layer/layer-store.ts";
import type { MkfsTool } from "./mkfs/tool.ts";
import type { OpenRoot } from "./root.ts";
import { type CancelFlag, makeCancelFlag } from "./util/cancel-flag.ts";
import type { Logger } from "./util/logger.ts";
import type { Handlers } from "./util/thread-channel.ts";
import type { WorkerConfiguration } from "./worker.ts";
import { WorkerPool } from "./workers.ts";

/** Threads cost some megabytes each; they come back within milliseconds. */
const threadIdleMs = 15_000;

export interface Surroundings {
  readonly config: Config;
  readonly root: OpenRoot;
  readonly log: Logger;
  /** Ends what may run on for long, when the daemon stops. */
  readonly stopFlag: CancelFlag;
  /** How content is compressed, once that is known: builders start after that. */
  codec: ExtentCodec | undefined;
  /** The program that writes images in our place. */
  mkfs: MkfsTool | undefined;
  /** Mounts and unmounts, one at a time; a container that starts waits for them. */
  readonly mounter: WorkerPool;
  /** Conversions. */
  readonly builders: WorkerPool;
  /** Layers made of tables of contents. */
  readonly claimers: WorkerPool;
  /** Conversions of what is being downloaded. */
  readonly earlyBuilders: WorkerPool;
  /** Layers that are built anew, one after the other. */
  readonly rewriter: WorkerPool;
  /** Deletions, figures, checkpoints: what nobody is in a hurry for. */
  readonly housekeeper: WorkerPool;
}

export function openSurroundings(
  config: Config,
  root: OpenRoot,
  log: Logger,
  handlers: Handlers,
  onCrash: (error: AppError) => void,
): Surroundings & { readonly pools: readonly WorkerPool[] } {
  const configuration = (): WorkerConfiguration => ({
    paths: root.paths,
    chunkBytes: config.chunk_size,
    codec: surroundings.codec,
    mkfs: surroundings.mkfs,
    stopFlag: surroundings.stopFlag,
  });
  const common = { idleMs: threadIdleMs, configuration, handlers, onCrash };
  const mounter = new WorkerPool({ ...common, threadsMax: 1 });
  const builders = new WorkerPool({ ...common, threadsMax: config.conversion.workers });
  const claimThreads = Math.min(claimThreadsMax, config.conversion.workers);
  const keptThreads = config.lazy.standby ? claimThreadsKept : 0;
  const claimers = new WorkerPool({ ...common, threadsMax: claimThreads, keptThreads });
  const earlyBuilders = new WorkerPool({ ...common, threadsMax: config.conversion.workers });
  const rewriter = new WorkerPool({ ...common, threadsMax: 1 });
  const housekeeper = new WorkerPool({ ...common, threadsMax: 1 });
  const workers = { mounter, builders, claimers, earlyBuilders, rewriter, housekeeper };
  const pools = Object.values(workers);
  const stopFlag = makeCancelFlag();
  const surroundings = {
    config,
    root,
    log,
    stopFlag,
    codec: undefined,
    mkfs: undefined,
    pools,
    ...workers,
  };
  return surroundings;
}
