/**
 * Claim: a layer that containerd asks to be unpacked is there before its blob is downloaded.
 *
 * containerd prepares a snapshot to unpack a layer to. Told that it exists already, it looks for a
 * committed one with the label of the layer's chain ID on the very parent of the request
 * (core/metadata/snapshot.go, createSnapshot), and neither downloads nor applies anything.
 *
 * Order: the layer is published and durable, then one transaction makes the committed snapshot,
 * then it is answered. A process that dies in between leaves a layer no snapshot refers to, which
 * the next start deletes, or a snapshot that the next pull of the image finds.
 *
 * What was made for the chain ID before will do, be it in another namespace, if it was made of the
 * whole blob, which containerd compares with the chain ID, or of the table of contents that this
 * image names as well. Otherwise the layer is pulled, and not claimed: containerd takes the first
 * snapshot with the label, whichever that is.
 *
 * Whatever goes wrong, the snapshot is prepared as ever, and containerd pulls the layer.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { baseOn, dropLayer } from "./apply.ts";
import { claimLabels, targetLabel, type ClaimLabels } from "./claim-labels.ts";
import { holderOf, type SnapshotContext } from "./context.ts";
import type { ClaimedLayer, LayerBase, LayerClaims } from "./contract.ts";
import { isDetached } from "./detached.ts";
import { reasonField } from "./failures.ts";
import type { CreateRequest } from "./prepare.ts";
import type { ChainLink, SnapshotRecord } from "./rows.ts";

/** What a layer without a parent lies on: the directory that Prepare would have made. */
const emptyRoot: LayerBase["root"] = { mode: 0o40755, uid: 0, gid: 0 };
/** Type and permission bits of a directory: what Prepare takes over from the parent's root. */
const permissionBits = 0o7777;
const directoryType = 0o40000;

export interface Claim {
  readonly request: CreateRequest;
  readonly labels: ClaimLabels;
  readonly claims: LayerClaims;
}

/**
 * Undefined for a snapshot that no layer is unpacked to, or whose client says nothing of the layer.
 * So it is for layers that are unpacked side by side: what is found for them has no parent.
 */
export function claimOf(context: SnapshotContext, request: CreateRequest): Claim | undefined {
  const { claims } = context;
  if (claims === undefined || request.kind !== "active" || isDetached(request)) return undefined;
  const labels = claimLabels(request.labels);
  return labels === undefined ? undefined : { request, labels, claims };
}

/** The name of the lock under which one layer on one parent is claimed; no snapshot has it. */
export function claimLock({ request, labels }: Claim): string {
  return `\0${labels.target} on ${request.parent}`;
}

/** True where the layer is there now, as a committed snapshot. */
export async function claimLocked(
  context: SnapshotContext,
  claim: Claim,
  parentId: number | undefined,
): Promise<boolean> {
  const { metadata, log } = context;
  const { target } = claim.labels;
  const there = metadata.findTarget(target, parentId);
  if (there.length > 0) return willDo(claim, there);
  const id = metadata.reserveId();
  try {
    const layer = await makeLayer(context, claim, id, parentId);
    if (layer === undefined) return false;
    await commitClaim(context, claim, layer, id, parentId);
    return true;
  } catch (error) {
    log.warn({ layer: target, ...reasonField(error) }, `layer ${target} is pulled`);
    return false;
  } finally {
    // The directories below that the layer may have needed.
    context.mounts.release(holderOf(id));
  }
}

/** Whether the image means each of the snapshots, as far as what they were made of tells. */
async function willDo(
  { request, labels, claims }: Claim,
  there: readonly SnapshotRecord[],
): Promise<boolean> {
  const name = { ...labels, namespace: namespaceOf(request.key) };
  const tocDigests = new Set(there.flatMap(({ tocDigest }) => tocDigest ?? []));
  for (const tocDigest of tocDigests) if (!(await claims.names(name, tocDigest))) return false;
  return true;
}

async function makeLayer(
  context: SnapshotContext,
  { request, labels, claims }: Claim,
  id: number,
  parentId: number | undefined,
): Promise<ClaimedLayer | undefined> {
  const { metadata } = context;
  const parent = parentId === undefined ? undefined : metadata.findById(parentId);
  const [nearest] = metadata.chain(parentId);
  return claims.claim({
    ...labels,
    parentTarget: parentId === undefined ? "" : parent?.labels.get(targetLabel),
    namespace: namespaceOf(request.key),
    base: await baseOf(context, claims, nearest),
    mountedBase: () => baseOn(context, id, parentId),
  });
}

/** Nothing is mounted for it: it is all that most layers need of those below. */
async function baseOf(
  { directories }: SnapshotContext,
  claims: LayerClaims,
  nearest: ChainLink | undefined,
): Promise<LayerBase> {
  if (nearest === undefined) return { root: emptyRoot, lower: [] };
  const { mode, uid, gid } =
    nearest.layer.kind === "image"
      ? claims.rootOf(nearest.layer.layerId)
      : await directories.statUpper(nearest.id);
  return { root: { mode: directoryType | (mode & permissionBits), uid, gid }, lower: "unknown" };
}

async function commitClaim(
  context: SnapshotContext,
  { request, labels }: Claim,
  { layerId, addedBytes, inodes, tocDigest }: ClaimedLayer,
  id: number,
  parentId: number | undefined,
): Promise<void> {
  const { metadata, layerStore, nowNs } = context;
  // Any name will do: containerd finds it by its label, and calls it what it is called here.
  const name = `${namespaceOf(request.key) ?? ""}/claimed-${id}/${labels.target}`;
  const usage = { sizeBytes: addedBytes, inodes };
  try {
    const { labels: all } = request;
    const made = { layerId, tocDigest, usage };
    metadata.claim({ id, name, parentId, labels: all, nowNs: nowNs(), ...made });
    await metadata.durable();
  } catch (error) {
    dropLayer(context, layerId);
    throw error;
  }
  layerStore.settle(layerId);
}

/** Keys are `<namespace>/<number>/<key of the client>` (core/metadata/snapshot.go, createKey). */
function namespaceOf(key: string): string | undefined {
  return /^([^/]+)\/\d+\//.exec(key)?.[1];
}

/** What containerd takes for "done already". */
export function alreadyClaimed({ labels }: Claim): AppError {
  return new AppError("already_exists", `Layer "${labels.target}" is there`);
}
