/**
 * Which containers have a mounted layer in their root: those whose processes may have read it.
 *
 * @module
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, isAbsolute } from "node:path";

/** The first process of a container. */
export interface MountUser {
  readonly pid: number;
  readonly command: string;
  /** The last part of its cgroup, which container runtimes name after the container. */
  readonly cgroup: string;
  /** Its mount namespace, which all processes of the container have. */
  readonly namespace: string;
}

/** One for each mount namespace whose root is an overlay on any of the mount points. */
export function usersOfMounts(mountPoints: readonly string[]): MountUser[] {
  const users: MountUser[] = [];
  const seen = new Set<string>();
  for (const { pid, namespace } of namespaces()) {
    if (seen.has(namespace)) continue;
    try {
      const lower = rootLayers(readFileSync(`/proc/${pid}/mountinfo`, "utf8"));
      seen.add(namespace);
      if (lower.some((layer) => isAnyOf(mountPoints, layer))) users.push(describe(pid, namespace));
    } catch {
      // It has ended meanwhile; another process of the namespace stands for it, or none does.
    }
  }
  return users;
}

/** The mount namespaces that processes have. */
export function mountNamespaces(): ReadonlySet<string> {
  return new Set([...namespaces()].map(({ namespace }) => namespace));
}

function* namespaces(): Generator<{ readonly pid: number; readonly namespace: string }> {
  const pids = readdirSync("/proc").map(Number).filter(Number.isInteger);
  for (const pid of pids.sort((left, right) => left - right)) {
    try {
      yield { pid, namespace: readlinkSync(`/proc/${pid}/ns/mnt`) };
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** containerd shortens long lists of layers: it mounts them from within a folder they share. */
function isAnyOf(mountPoints: readonly string[], layer: string): boolean {
  if (isAbsolute(layer)) return mountPoints.includes(layer);
  return mountPoints.some((path) => path.endsWith(`/${layer}`));
}

function describe(pid: number, namespace: string): MountUser {
  const command = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  const cgroup = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n").at(-1) ?? "";
  const name = basename(cgroup.slice(cgroup.lastIndexOf(":") + 1));
  return { pid, command, cgroup: name, namespace };
}

/** The lower directories of an overlay that is mounted at `/`; empty where something else is. */
function rootLayers(mountInfo: string): string[] {
  const roots = [...mountInfo.matchAll(/^\S+ \S+ \S+ \S+ \/ .* - overlay \S+ (\S+)$/gm)];
  const options = roots.at(-1)?.[1]?.split(",") ?? [];
  return options
    .filter((option) => option.startsWith("lowerdir"))
    .flatMap((option) => option.slice(option.indexOf("=") + 1).split(":"));
}
