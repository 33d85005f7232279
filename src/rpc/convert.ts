/** Between the domain and the messages of the snapshot service. */
import type { Mount, SnapshotInfo, SnapshotKind } from "../snapshot/contract.ts";
import { Kind, type Info } from "./gen/containerd/services/snapshots/v1/snapshots.ts";
import type { Mount as MountMessage } from "./gen/containerd/types/mount.ts";
import type { Timestamp } from "./gen/google/protobuf/timestamp.ts";

const kinds: Readonly<Record<SnapshotKind, Kind>> = {
  view: Kind.VIEW,
  active: Kind.ACTIVE,
  committed: Kind.COMMITTED,
};

const nsPerSecond = 1_000_000_000n;

/** Exact to the nanosecond: containerd compares times it was given. */
export function timestampMessage(timeNs: bigint): Timestamp {
  // Rounded down, as the nanoseconds of a Timestamp count forward also before 1970.
  const nanos = ((timeNs % nsPerSecond) + nsPerSecond) % nsPerSecond;
  return { seconds: (timeNs - nanos) / nsPerSecond, nanos: Number(nanos) };
}

export function infoMessage(info: SnapshotInfo): Info {
  return {
    name: info.name,
    parent: info.parent,
    kind: kinds[info.kind],
    createdAt: timestampMessage(info.createdNs),
    updatedAt: timestampMessage(info.updatedNs),
    labels: new Map(info.labels),
  };
}

export function mountMessage({ type, source, options }: Mount): MountMessage {
  return { type, source, target: "", options: [...options] };
}

/** Bytes of the parts of a message that can be long, so that a stream's messages stay small. */
export function infoBytes(info: Info): number {
  let bytes = Buffer.byteLength(info.name) + Buffer.byteLength(info.parent);
  for (const [key, value] of info.labels) {
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  return bytes;
}
