/**
 * Where our trees may differ from those that containerd's own differ unpacks on overlayfs, and
 * nowhere else.
 *
 * @module
 */
import type { FileFacts, Tree } from "../../test/support/image/model.ts";

/**
 * The tree of ours as containerd's differ would have left it:
 *
 * - it drops `trusted.*` attributes (archive/tar_linux.go),
 * - it makes times before 1970 and after 2262 the start of 1970 (archive/tar.go, boundTime),
 * - what no entry dates gets the time of unpacking; ours has that of the entry it is made for.
 *
 * @param unpackedAfterNs no earlier than which containerd unpacked
 */
export function asUnpacked(ours: Tree, containerds: Tree, unpackedAfterNs: bigint): Tree {
  const entries = [...ours].map(([path, facts]) => {
    const isUndated = (containerds.get(path)?.mtimeNs ?? 0n) >= unpackedAfterNs;
    const mtimeNs = isUndated ? (containerds.get(path)?.mtimeNs ?? 0n) : boundTime(facts.mtimeNs);
    return [path, { ...facts, mtimeNs, xattrs: withoutTrusted(facts) }] as const;
  });
  return new Map(entries);
}

const latestNs = 2n ** 63n - 1n;

function boundTime(mtimeNs: bigint): bigint {
  return mtimeNs < 0n || mtimeNs > latestNs ? 0n : mtimeNs;
}

function withoutTrusted({ xattrs }: FileFacts): FileFacts["xattrs"] {
  const kept = Object.entries(xattrs).filter(([name]) => !name.startsWith("trusted."));
  return Object.fromEntries(kept);
}
