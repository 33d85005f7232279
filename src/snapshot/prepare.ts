/**
 * Prepare and View: a new snapshot on top of a committed one.
 *
 * A snapshot that a layer is to be unpacked to may turn out not to be needed (claim.ts).
 *
 * Order: layers mounted, directory made, then one transaction. A process that dies before it leaves
 * a directory that the next start deletes; after it, the snapshot is whole.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { alreadyClaimed, type Claim, claimLock, claimLocked, claimOf } from "./claim.ts";
import { acquireChain, guardSteps, holderOf, requireParent } from "./context.ts";
import type { SnapshotContext } from "./context.ts";
import type { Labels, Mount } from "./contract.ts";
import { isDetached } from "./detached.ts";
import { reasonField } from "./failures.ts";
import { checkLabels, checkName } from "./limits.ts";
import { layerDirectory, mountsFor } from "./mounts.ts";

export interface CreateRequest {
  readonly kind: "active" | "view";
  readonly key: string;
  /** Empty for none. */
  readonly parent: string;
  readonly labels: Labels;
}

export function createSnapshot(context: SnapshotContext, request: CreateRequest): Promise<Mount[]> {
  checkName(request.key, "key");
  checkLabels(request.labels);
  const claim = claimOf(context, request);
  const locks = claim === undefined ? [] : [claimLock(claim)];
  return context.locks.run([request.key, ...locks], () => createLocked(context, request, claim));
}

async function createLocked(
  context: SnapshotContext,
  request: CreateRequest,
  claim: Claim | undefined,
): Promise<Mount[]> {
  const { metadata, parentHolds, directoryHolds } = context;
  const { key, kind } = request;
  const parentId = requireParent(metadata, request.parent);
  if (metadata.find(key) !== undefined) {
    throw new AppError("already_exists", `Snapshot "${key}" is there already`);
  }
  using _parent = parentId === undefined ? undefined : parentHolds.hold(parentId);
  if (claim !== undefined && (await claimLocked(context, claim, parentId))) {
    throw alreadyClaimed(claim);
  }
  const id = metadata.reserveId();
  using _directory = directoryHolds.hold(id);
  return await guardSteps(`Cannot create ${kind} snapshot "${key}"`, async () => {
    try {
      const chain = await acquireChain(context, id, () => metadata.chain(parentId));
      const [nearest] = chain;
      const parentDirectory = nearest && layerDirectory(context, nearest);
      await context.directories.create(id, kind, parentDirectory);
      if (kind === "active" && isDetached(request)) await context.directories.createBelow(id);
      const { labels } = request;
      metadata.insert({ id, name: key, parentId, kind, nowNs: context.nowNs(), labels });
      await Promise.all([metadata.durable(), context.directories.sync(id)]);
      return mountsFor(context, { ...request, id }, chain);
    } catch (error) {
      await abandon(context, id);
      throw error;
    }
  });
}

/** Undoes the steps, as far as they came; what stays behind, Cleanup finds again. */
async function abandon(context: SnapshotContext, id: number): Promise<void> {
  const { metadata, mounts, directories, log } = context;
  try {
    // First, and only if it succeeds the rest: a snapshot in the metadata keeps its directory.
    metadata.remove(id);
    mounts.release(holderOf(id));
    await directories.remove(id);
  } catch (error) {
    log.warn({ snapshot: id, ...reasonField(error) }, "cannot undo the creation of a snapshot");
  }
}
