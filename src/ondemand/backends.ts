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
  /**
   * Through which layers of this boot may be mounted: a mount goes on reading where it was made to
   * read, whatever is configured since.
   */
  readonly inUse?: BackendName | undefined;
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
 * One that is in use goes on until its packs are complete and gone, or until the next boot: another
 * one would leave its readers waiting for ever, or with zeros.
 *
 * @param name `auto`: the first that works; of fanotify, which lets readers have zeros when its
 *   channel closes, only with a keeper
 * @throws AppError `unavailable` where the keeper does not answer, another process still serves, or
 *   what is in use cannot be opened
 */
export async function chooseBackend(
  name: BackendName | "auto",
  options: BackendOptions,
): Promise<ChosenBackend> {
  const reasons: string[] = [];
  const { inUse, keeper } = options;
  for (const [candidate, open] of candidatesOf(name, inUse)) {
    const isInUse = candidate === inUse;
    if (name === "auto" && candidate === "fanotify" && keeper === undefined && !isInUse) {
      reasons.push("fanotify: there is no keeper");
      continue;
    }
    try {
      // How new images are mounted is no matter of those that are.
      const backend = await open(isInUse ? { ...options, mountMethod: "auto" } : options);
      if (isInUse && candidate !== preferred(name))
        reasons.push(`${candidate} goes on: layers may be mounted through it`);
      return { backend, reasons };
    } catch (error) {
      // Whoever waits for this backend must not be left to another one: the next start tries again.
      const isAway = error instanceof AppError && error.code === "unavailable";
      if (isInUse && !isAway) throw cannotGoOn(candidate, error);
      if (candidate === name || isAway) throw error;
      reasons.push(`${candidate}: ${describeError(error)}`);
    }
  }
  throw new AppError("unimplemented", `There is no backend "${name}"`, {
    remedy: 'set "lazy.backend" to "auto"',
  });
}

function cannotGoOn(name: BackendName, cause: unknown): AppError {
  const problem = `Layers are mounted through "${name}", which cannot be opened`;
  return new AppError("unavailable", `${problem}: ${describeError(cause)}`, {
    cause,
    remedy: "it is tried again; a reboot ends its mounts, and another backend may be taken then",
  });
}

function preferred(name: BackendName | "auto"): BackendName | undefined {
  return name === "auto" ? backends[0]?.[0] : name;
}

/** What is in use first, then what is configured. */
function candidatesOf(
  name: BackendName | "auto",
  inUse: BackendName | undefined,
): (typeof backends)[number][] {
  return [
    ...backends.filter(([candidate]) => candidate === inUse),
    ...backends.filter(
      ([candidate]) => candidate !== inUse && (name === "auto" || candidate === name),
    ),
  ];
}
