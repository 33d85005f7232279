/**
 * Lazy packs from which zeros may have been read, and the containers that may have done so
 * (ondemand/fanotify/suspects.ts): each is said once, loudly, and shown until the pack is gone.
 *
 * Whether those containers are to be restarted only their operators can tell.
 *
 * @module
 */
import type { SuspectPack } from "../ondemand/contract.ts";
import type { PackStatus } from "../ondemand/control.ts";
import type { Logger } from "../util/logger.ts";

/** Names as in the JSON. */
export interface SuspectView {
  readonly pack: number;
  /** By which the layer came; empty where dedupd does not say. */
  readonly image: string;
  /** Of the layer's blob. */
  readonly digest: string;
  /** The first process of each container that has the layer; its cgroup is named by that. */
  readonly containers: readonly {
    readonly pid: number;
    readonly command: string;
    readonly cgroup: string;
  }[];
  /** Pages that are mapped, so that they could not be dropped from the page cache. */
  readonly stale_cached_pages: number;
}

export class SuspectPacks {
  readonly #log: Logger;
  #said = new Set<number>();
  #count = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** How many were found since the start. */
  get count(): number {
    return this.#count;
  }

  /**
   * Says what was not said yet.
   *
   * @param suspects all there are, as dedupd has them
   * @param packs those that are exposed
   */
  note(suspects: readonly SuspectPack[], packs: readonly PackStatus[]): void {
    const views = suspectViews(suspects, packs);
    for (const view of views) {
      if (this.#said.has(view.pack)) continue;
      this.#count += 1;
      // There is no audit log of its own: the field is what to look for.
      this.#log.error({ audit: true, event: "suspect", ...view }, describeSuspect(view));
    }
    this.#said = new Set(views.map(({ pack }) => pack));
  }
}

export function suspectViews(
  suspects: readonly SuspectPack[],
  packs: readonly PackStatus[],
): SuspectView[] {
  const statuses = new Map(packs.map((status) => [status.packId, status]));
  return suspects.map(({ packId: pack, users, staleCachedPages }) => {
    const { image = "", digest = "" } = statuses.get(pack) ?? {};
    const containers = users.map(({ pid, command, cgroup }) => ({ pid, command, cgroup }));
    return { pack, image, digest, containers, stale_cached_pages: staleCachedPages };
  });
}

/** For people, on one line. */
export function describeSuspect({ pack, image, containers, ...view }: SuspectView): string {
  const names = containers.map(({ pid, command, cgroup }) => `${command} (${cgroup}, PID ${pid})`);
  const advice = names.length === 0 ? "no container has it" : `restart ${names.join(", ")}`;
  const { stale_cached_pages: stale } = view;
  const left = stale === 0 ? "" : `; ${stale} pages are still mapped`;
  const name = image === "" ? `lazy pack ${pack}` : `lazy pack ${pack} of ${image}`;
  return `${name}: zeros may have been read while nobody watched it; ${advice}${left}`;
}
