/**
 * Places at which a test can have this process killed, and faults it can have made: in every build,
 * and inert unless the environment names one when the process starts.
 *
 * `DEDUP_FAILPOINT=name[:count]`: SIGKILL at the count-th time that a thread gets to the place.
 * `DEDUP_FAILPOINT=@/path`: what the file says, whenever it says it, once: the file is removed.
 * `DEDUP_FAULT=name`: the process does wrong what the name says, so that a test can show that it
 * would notice.
 *
 * @module
 */
import { readFileSync, unlinkSync } from "node:fs";

/** In the order in which a read meets them. */
export const readFailpoints = [
  "pass.before",
  "pass.held",
  "fill.before-write",
  "fill.after-write",
  "fill.after-present",
  "answer.before",
  "answer.after",
] as const;

/** Those of reads, then those of packs, then those of a start. */
export const failpoints = [
  ...readFailpoints,
  "complete.before",
  "complete.after",
  "expose.marked",
  "withdraw.marked",
  "channel.after-adopt",
  "channel.before-keep",
  "channel.after-keep",
  "takeover.orphans",
] as const;

export type Failpoint = (typeof failpoints)[number];

/** What a correct dedupd never does. */
export const faults = [
  "answer-before-write",
  "forget-orphans",
  "forget-mark",
  "skip-verification",
] as const;

export type Fault = (typeof faults)[number];

const failpointVariable = "DEDUP_FAILPOINT";
const faultVariable = "DEDUP_FAULT";

const setting = process.env[failpointVariable] ?? "";
const fault = process.env[faultVariable] ?? "";

/** How often this thread has been at the place that is armed, since that was armed. */
let armed = "";
let visits = 0;

/** Ends the process, without a chance to do anything more, if that was asked for here. */
export function failpoint(name: Failpoint): void {
  if (setting !== "") visit(name);
}

/** Whether the process is to do this wrong. */
export function hasFault(name: Fault): boolean {
  return fault === name;
}

/** For the log: a process with any of it is no process to rely on; empty for all others. */
export function armedForTests(): readonly string[] {
  return [setting, fault].filter((text) => text !== "");
}

function visit(name: Failpoint): void {
  const file = setting.startsWith("@") ? setting.slice(1) : undefined;
  const spec = file === undefined ? setting : readSpec(file);
  if (spec !== armed) visits = 0;
  armed = spec;
  const [wanted, count = "1"] = spec.split(":");
  if (wanted !== name) return;
  visits += 1;
  if (visits !== Number(count)) return;
  if (file === undefined || remove(file)) process.kill(process.pid, "SIGKILL");
}

function readSpec(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return "";
  }
}

/** False where another thread or process was faster. */
function remove(file: string): boolean {
  try {
    unlinkSync(file);
    return true;
  } catch {
    return false;
  }
}
