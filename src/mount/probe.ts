/**
 * Finds how this node can mount images, by mounting one.
 *
 * Kernel versions and options are not parsed: sandboxes, missing modules and the file system of the
 * root decide as well. What every layer needs has been done once before the daemon is ready.
 *
 * @module
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { AppError, describeError } from "../errors.ts";
import type { ImageFiles, MountMethod, MountMode } from "./contract.ts";
import { mountImage, unmountTarget } from "./erofs-mount.ts";
import { type ProbeImage, writeProbeImage } from "./probe-image.ts";

export type RequestedMethod = "auto" | MountMethod;

export interface FailedAttempt {
  readonly tried: MountMode;
  readonly reason: string;
}

export interface ProbeResult {
  readonly mode: MountMode;
  /** What was tried before `mode`, and why it did not do; for the log. */
  readonly failed: readonly FailedAttempt[];
}

export interface MountFunctions {
  readonly mount: (files: ImageFiles, target: string, mode: MountMode) => MountMode;
  readonly unmount: (target: string) => void;
}

export const realFunctions: MountFunctions = { mount: mountImage, unmount: unmountTarget };

/** Best first: no loop device in between, and nothing cached twice. */
const modes: readonly MountMode[] = [
  { method: "file", directIo: true },
  { method: "file", directIo: false },
  { method: "loop", directIo: true },
  { method: "loop", directIo: false },
];

const fileRemedy =
  "Mounting from files needs Linux 6.12 with CONFIG_EROFS_FS_BACKED_BY_FILE, and a root on a " +
  "file system such as ext4, xfs or btrfs; the method loop needs neither";
const loopRemedy =
  "Mounting needs CAP_SYS_ADMIN, EROFS (modprobe erofs) and loop devices (modprobe loop, " +
  "/dev/loop-control)";

/**
 * The best mode of the requested method that works for files in `scratchDirectory`, an existing
 * directory on the file system of the images and packs. Leaves nothing behind. May block: for
 * worker threads.
 *
 * Throws AppError `failed_precondition` with all reasons and a remedy if none works.
 */
export function probeMountMode(
  requested: RequestedMethod,
  scratchDirectory: string,
  functions: MountFunctions = realFunctions,
): ProbeResult {
  removeFolders(scratchDirectory, functions);
  try {
    const folder = mkdtempSync(join(scratchDirectory, folderPrefix));
    return findMode(requested, writeProbeImage(folder), folder, functions);
  } finally {
    removeFolders(scratchDirectory, functions);
  }
}

/** Runs `task` with a folder of its own in the scratch directory, unmounts and removes it. */
export async function withProbeFolder(
  scratchDirectory: string,
  functions: MountFunctions,
  task: (folder: string) => Promise<void>,
): Promise<void> {
  removeFolders(scratchDirectory, functions);
  try {
    await task(mkdtempSync(join(scratchDirectory, folderPrefix)));
  } finally {
    removeFolders(scratchDirectory, functions);
  }
}

const folderPrefix = "probe-";
const targetName = "mount";

/** The folder of this probe, and of one that was killed. */
function removeFolders(scratchDirectory: string, functions: MountFunctions): void {
  for (const name of readdirSync(scratchDirectory)) {
    if (!name.startsWith(folderPrefix)) continue;
    const folder = join(scratchDirectory, name);
    functions.unmount(join(folder, targetName));
    rmSync(folder, { recursive: true, force: true });
  }
}

function findMode(
  requested: RequestedMethod,
  image: ProbeImage,
  folder: string,
  functions: MountFunctions,
): ProbeResult {
  const failed: FailedAttempt[] = [];
  for (const tried of modes) {
    if (requested !== "auto" && requested !== tried.method) continue;
    try {
      return { mode: readProbeImage(image, folder, tried, functions), failed };
    } catch (error) {
      failed.push({ tried, reason: describeError(error) });
    }
  }
  const method = requested === "auto" ? "any method" : `the method ${requested}`;
  const reasons = failed.map(({ reason }) => reason).join("; ");
  const remedy = requested === "file" ? fileRemedy : loopRemedy;
  const message = `Cannot mount images by ${method}: ${reasons}`;
  throw new AppError("failed_precondition", message, { remedy });
}

/** Mounts the image in its folder and reads all of it; returns the mode in force. */
export function readProbeImage(
  image: ProbeImage,
  folder: string,
  tried: MountMode,
  functions: MountFunctions,
): MountMode {
  const target = join(folder, targetName);
  const mode = functions.mount(image.files, target, tried);
  try {
    const isSame = [...image.contents].every(([name, content]) =>
      readFileSync(join(target, name)).equals(content),
    );
    if (isSame) return mode;
  } finally {
    functions.unmount(target);
  }
  throw new AppError("data_loss", `Content that was read through ${tried.method} is wrong`);
}
