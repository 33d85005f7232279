/**
 * What a test may leave on the machine below a folder: processes, mounts and loop devices.
 *
 * @module
 */
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { tryCommand } from "./process.ts";

/** Mount points as /proc/self/mountinfo escapes them: blanks and backslashes are octal. */
function unescapeMountPath(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** The mount points at and below a folder, last mounted first. */
export function mountsBelow(folder: string): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => unescapeMountPath(line.split(" ")[4] ?? ""))
    .filter((path) => isBelow(path, folder))
    .reverse();
}

/** The loop devices whose backing file is below a folder, as `/dev/loopN`. */
export function loopsBelow(folder: string): string[] {
  return readdirSync("/sys/block")
    .filter((name) => name.startsWith("loop"))
    .filter((name) => isBelow(readText(`/sys/block/${name}/loop/backing_file`), folder))
    .map((name) => `/dev/${name}`);
}

/** Empty where the file is gone, as files below /proc and /sys may be at any time. */
function readText(file: string): string {
  try {
    return readFileSync(file, "utf8").trimEnd();
  } catch {
    return "";
  }
}

function readLink(file: string): string {
  try {
    return readlinkSync(file);
  } catch {
    return "";
  }
}

export interface ProcessInfo {
  readonly pid: number;
  readonly commandLine: string;
}

/** Other processes that name the folder in arguments or environment, or work in it. */
export function processesBelow(folder: string): ProcessInfo[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((name) => ({
      pid: Number(name),
      commandLine: readText(`/proc/${name}/cmdline`).replaceAll("\0", " ").trimEnd(),
    }))
    .filter(({ pid, commandLine }) => {
      const named = commandLine + readText(`/proc/${pid}/environ`);
      return named.includes(folder) || isBelow(readLink(`/proc/${pid}/cwd`), folder);
    });
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

/** A mount or loop device, or a process, in words. */
function describe(
  processes: readonly ProcessInfo[],
  mounts: readonly string[],
  loops: readonly string[],
): string[] {
  return [
    ...processes.map(({ pid, commandLine }) => `process ${pid}: ${commandLine}`),
    ...mounts.map((path) => `mount ${path}`),
    ...loops.map((device) => `loop device ${device}`),
  ];
}

/** The mounts and loop devices below a folder. */
export function findMounted(folder: string): string[] {
  return describe([], mountsBelow(folder), loopsBelow(folder));
}

/** The processes, mounts and loop devices below a folder. */
export function findLeftovers(folder: string): string[] {
  return describe(processesBelow(folder), mountsBelow(folder), loopsBelow(folder));
}

/** Kills, unmounts and detaches everything below the folder; resolves with what there was. */
export async function releaseBelow(folder: string): Promise<string[]> {
  const processes = processesBelow(folder);
  for (const { pid } of processes) killProcess(pid);
  const mounts = mountsBelow(folder);
  for (const path of mounts) await tryCommand(["umount", "--lazy", path]);
  const loops = loopsBelow(folder);
  for (const device of loops) await tryCommand(["losetup", "--detach", device]);
  return describe(processes, mounts, loops);
}
