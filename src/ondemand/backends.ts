/**
 * Which backends there are, and which of them this machine has: found by trying.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import type { MountMethod } from "../mount/contract.ts";
import type { Logger } from "../util/logger.ts";
import type { BackendName, ChannelKeeper, Demand, LazyBackend, ReadRequest } from "./contract.ts";
import { openEager } from "./eager.ts";
import { openFanotifyBackend } from "./fanotify/backend.ts";
import { openFuseBackend } from "./fuse/backend.ts";

export interface BackendOptions {
  /** The root folder; lazy packs are in `packs` below it. */
  readonly root: string;
  readonly demand: Demand;
  /** Somebody reads in order and will need these bytes soon; where the backend can tell. */
  readonly prefetchAhead?: (window: ReadRequest) => void;
  /** Undefined: nobody keeps a channel open when this process ends. */
  readonly keeper: ChannelKeeper | undefined;
  readonly log: Logger;
  /** How images are to be mounted, as configured. */
  readonly mountMethod?: "auto" | MountMethod;
  /** Threads that answer the kernel. */
  readonly threads: number;
  /** Zeros may have been read from the pack; becomes an event of dedupd. */
  readonly reportSuspect: (packId: number, message: string) => void;
  /** The channel is of no use any more: the process gives up, and its successor adopts it. */
  readonly onCrash: (error: AppError) => void;
}

/** Rejects with an AppError where the machine does not have what it needs; leaves nothing then. */
export type OpenBackend = (options: BackendOptions) => Promise<LazyBackend>;

/** In the order of preference. */
const backends: readonly (readonly [BackendName, OpenBackend])[] = [
  ["fanotify", openFanotifyBackend],
  ["fuse", openFuseBackend],
  ["eager", openEager],
];

export interface ChosenBackend {
  readonly backend: LazyBackend;
  /** Why those before it were not taken. */
  readonly reasons: readonly string[];
}

/**
 * @param name `auto`: the first that works; of fanotify, which lets readers have zeros when its
 *   channel closes, only with a keeper
 */
export async function chooseBackend(
  name: BackendName | "auto",
  options: BackendOptions,
): Promise<ChosenBackend> {
  const reasons: string[] = [];
  for (const [candidate, open] of backends) {
    if (name !== "auto" && name !== candidate) continue;
    if (name === "auto" && candidate === "fanotify" && options.keeper === undefined) {
      reasons.push("fanotify: there is no keeper");
      continue;
    }
    try {
      return { backend: await open(options), reasons };
    } catch (error) {
      if (name !== "auto") throw error;
      reasons.push(`${candidate}: ${describeError(error)}`);
    }
  }
  throw new AppError("unimplemented", `There is no backend "${name}"`, {
    remedy: 'set "lazy.backend" to "auto"',
  });
}
