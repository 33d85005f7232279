/** The memory of other processes. */
import { readFileSync } from "node:fs";

/** `VmRSS`, or `VmHWM`, the most it ever was, of a process with all its threads, in MiB. */
export function memoryMiB(pid: number, field: "VmRSS" | "VmHWM"): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const match = new RegExp(`^${field}:\\s+([0-9]+) kB`, "m").exec(status);
  return Number(match?.[1] ?? Number.NaN) / 1024;
}
