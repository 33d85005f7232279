/**
 * Which packs are suspect, on the disk: `<root>/fanotify.suspects.json`. Written before the group
 * that watches them again is kept: whoever adopts that one does not see any more that they were
 * not watched. Only of this boot, which is what their readers and caches live in.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { describeError } from "../../errors.ts";
import { exposedPacks } from "../../store/exposed-packs.ts";
import { packPath, storePaths } from "../../store/paths.ts";
import type { Logger } from "../../util/logger.ts";
import { readBootRecord, writeBootRecord } from "../boot-record.ts";

const suspectSchema = z.object({
  packId: z.number(),
  /** Zeros may be cached: not all of the page cache of its images was dropped yet. */
  mayBeCached: z.boolean(),
  /** mount-users.ts */
  users: z.array(
    z.object({ pid: z.number(), command: z.string(), cgroup: z.string(), namespace: z.string() }),
  ),
});

const schema = z.object({
  version: z.literal(1),
  bootId: z.string(),
  suspects: z.array(suspectSchema),
});

export type RecordedSuspect = z.infer<typeof suspectSchema>;

export class SuspectRecord {
  readonly #root: string;
  readonly #path: string;
  readonly #log: Logger;

  constructor(root: string, log: Logger) {
    this.#root = root;
    this.#path = join(root, "fanotify.suspects.json");
    this.#log = log;
  }

  /** Without those that were deleted since: their numbers may become those of other packs. */
  read(): RecordedSuspect[] {
    const recorded = this.#readAll();
    if (recorded.length === 0) return [];
    const paths = storePaths(this.#root);
    const exposed = new Set(exposedPacks(paths));
    return recorded.filter(
      ({ packId }) => exposed.has(packId) && existsSync(packPath(paths, packId)),
    );
  }

  #readAll(): readonly RecordedSuspect[] {
    try {
      return readBootRecord(this.#path, schema)?.suspects ?? [];
    } catch (error) {
      this.#log.error({ reason: describeError(error) }, "the record of suspect packs is lost");
      return [];
    }
  }

  /** A full disk is no reason to leave the packs without who watches them. */
  write(suspects: readonly RecordedSuspect[]): void {
    const facts = suspects.map(({ packId, mayBeCached, users }) => ({
      packId,
      mayBeCached,
      users,
    }));
    try {
      writeBootRecord<z.infer<typeof schema>>(this.#path, { version: 1, suspects: facts });
    } catch (error) {
      const reason = describeError(error);
      this.#log.error({ reason }, "suspect packs are not recorded: the next dedupd forgets them");
    }
  }
}
