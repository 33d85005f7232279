/**
 * What a start finds that the end before it left behind.
 *
 * Directories without a snapshot are deleted, be they half made, or left by a removal or a
 * conversion whose last step was not reached. A snapshot without its directory (possible only after
 * a loss of power, or by somebody's hand) is kept, so that its client can remove it, and logged.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { SnapshotContext } from "./context.ts";
import { idOfDirectory } from "./directories.ts";
import { orphansAmong } from "./remove.ts";

/** Throws `data_loss` where deleting would go by a database that is not the directories' own. */
export function recover(context: SnapshotContext): void {
  const { metadata, directories, queue, log } = context;
  const names = directories.listSync();
  if (metadata.isNew && names.length > 0) {
    const problem = `"${metadata.path}" is missing or empty, but "${directories.path}" is not`;
    throw new AppError("data_loss", problem, {
      remedy:
        "restore the database from a backup; to start from nothing, stop the daemon and move " +
        "the root folder away",
    });
  }
  // A loss of power may have taken the transaction that gave the id, but not the directory.
  for (const name of names) metadata.skipIdsTo(idOfDirectory(name) ?? 0);
  const orphans = orphansAmong(context, names);
  for (const name of orphans) queue.addDirectory(name);
  if (orphans.length > 0) log.info({ count: orphans.length }, "deleting leftover directories");

  const present = new Set(names.map(idOfDirectory));
  for (const id of metadata.directoryIds()) {
    if (!present.has(id)) log.error({ snapshot: id }, "the directory of a snapshot is missing");
  }
}
