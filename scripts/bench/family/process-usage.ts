/**
 * What processes and their children use, from /proc (proc(5)).
 *
 * @module
 */
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

/** USER_HZ, in which the kernel tells CPU times to every program (include/asm-generic/param.h). */
const ticksPerSecond = 100;
const sampleIntervalMs = 100;
/** Writing this to `clear_refs` sets `VmHWM` to the size of now. */
const resetPeak = "5";

interface ProcessStat {
  readonly pid: number;
  readonly parentPid: number;
  /** Of the process and of all its children that were waited for. */
  readonly cpuTicks: number;
}

/** The fields of /proc/<pid>/stat; the second, a name, may hold blanks and parentheses. */
export function parseStat(text: string): ProcessStat {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const times = fields.slice(11, 15).map(Number);
  return {
    pid: Number.parseInt(text, 10),
    parentPid: Number(fields[1]),
    cpuTicks: times.reduce((sum, each) => sum + each, 0),
  };
}

/** Empty where the process is gone. */
function read(pid: number | string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    return "";
  }
}

/** A process with all below it; the process itself comes first. */
function processTree(root: number): ProcessStat[] {
  const names = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const texts = names.map((name) => read(name, "stat")).filter((text) => text !== "");
  const children = Map.groupBy(texts.map(parseStat), ({ parentPid }) => parentPid);
  const self = read(root, "stat");
  const found = self === "" ? [] : [parseStat(self)];
  // Grows while it is walked.
  for (const { pid } of found) found.push(...(children.get(pid) ?? []));
  return found;
}

/** CPU seconds so far of a process, its children and those that have ended before. */
export function cpuSeconds(root: number): number {
  return processTree(root).reduce((sum, each) => sum + each.cpuTicks, 0) / ticksPerSecond;
}

function memoryBytes(pid: number, field: "VmRSS" | "VmHWM"): number {
  const match = new RegExp(`^${field}:\\s+([0-9]+) kB`, "m").exec(read(pid, "status"));
  return Number(match?.[1] ?? 0) * 1024;
}

export interface PeakMemory {
  /** Of the process alone, as the kernel counts it. */
  readonly ownBytes: number;
  /** Of its children together: the most that was seen, ten times a second. */
  readonly childrenBytes: number;
}

/** Watches the resident memory of a process from now on. */
export function watchMemory(root: number): { stop(): PeakMemory } {
  writeFileSync(`/proc/${root}/clear_refs`, resetPeak);
  let childrenBytes = 0;
  const timer = setInterval(() => {
    const sizes = processTree(root).map(({ pid }) => memoryBytes(pid, "VmRSS"));
    const sum = sizes.slice(1).reduce((total, each) => total + each, 0);
    childrenBytes = Math.max(childrenBytes, sum);
  }, sampleIntervalMs);
  return {
    stop: () => {
      clearInterval(timer);
      return { ownBytes: memoryBytes(root, "VmHWM"), childrenBytes };
    },
  };
}
