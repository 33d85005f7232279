/**
 * Which containers have a mounted layer in their root: those whose processes may have read it.
 *
 * @module
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";

/** The first process of a container. */
export interface MountUser {
  readonly pid: number;
  readonly command: string;
  /** The last part of its cgroup, which container runtimes name after the container. */
  readonly cgroup: string;
}

/** One for each mount namespace whose root is an overlay on any of the mount points. */
export function usersOfMounts(mountPoints: readonly string[]): MountUser[] {
  const namespaces = new Set<string>();
  const users: MountUser[] = [];
  const pids = readdirSync("/proc").map(Number).filter(Number.isInteger);
  for (const pid of pids.sort((left, right) => left - right)) {
    try {
      const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
      if (namespaces.has(namespace)) continue;
      namespaces.add(namespace);
      const lower = rootLayers(readFileSync(`/proc/${pid}/mountinfo`, "utf8"));
      if (mountPoints.some((path) => lower.includes(path))) users.push(describe(pid));
    } catch {
      // It has ended meanwhile; another process of the namespace stands for it, or none does.
    }
  }
  return users;
}

function describe(pid: number): MountUser {
  const command = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  const cgroup = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n").at(-1) ?? "";
  return { pid, command, cgroup: basename(cgroup.slice(cgroup.lastIndexOf(":") + 1)) };
}

/** The lower directories of an overlay that is mounted at `/`; empty where something else is. */
function rootLayers(mountInfo: string): string[] {
  const roots = [...mountInfo.matchAll(/^\S+ \S+ \S+ \S+ \/ .* - overlay \S+ (\S+)$/gm)];
  const options = roots.at(-1)?.[1]?.split(",") ?? [];
  return options
    .filter((option) => option.startsWith("lowerdir"))
    .flatMap((option) => option.slice(option.indexOf("=") + 1).split(":"));
}
