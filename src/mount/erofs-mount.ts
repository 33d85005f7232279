/**
 * Mounting and unmounting images: the kernel side of `MountDriver`. May block: for worker threads.
 *
 * @module
 */
import { mkdirSync, rmdirSync, statSync } from "node:fs";
import { close } from "../../ffi/file.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { type LoopDevice, openLoop } from "../../ffi/loop.ts";
import { mountErofs, unmount } from "../../ffi/mount.ts";
import { AppError, type ErrorCode } from "../errors.ts";
import type { ImageFiles, MountMode } from "./contract.ts";
import { withReadahead } from "./readahead.ts";

/**
 * Mounts an image read-only at `target`, which is made if it is not there.
 *
 * Throws AppError: `data_loss` for a file that is missing or no sound image, `resource_exhausted`,
 * else `internal`. Nothing stays mounted, attached or open then.
 *
 * @returns the mode in force: loop devices may refuse direct I/O without failing
 */
export function mountImage(files: ImageFiles, target: string, mode: MountMode): MountMode {
  try {
    for (const path of [files.image, ...files.packs]) statSync(path);
    mkdirSync(target, { recursive: true });
    const mount = mode.method === "file" ? mountFiles : mountLoops;
    return withReadahead(target, () => mount(files, target, mode.directIo));
  } catch (error) {
    removeEmptyDirectory(target);
    const how = `as ${mode.method}${mode.directIo ? " with direct I/O" : ""}`;
    const message = `Cannot mount image "${files.image}" at "${target}" ${how}`;
    throw new AppError(codeOf(error), message, { cause: error, remedy: mountRemedy });
  }
}

const mountRemedy = "The kernel's own reason is in its log: dmesg | grep erofs";

/** The kernel would mount an image without a pack, whose files then fail to be read. */
const damageErrnos: ReadonlySet<string> = new Set([
  "ENOENT",
  "EINVAL",
  "EBADMSG",
  "EUCLEAN",
  "EIO",
]);

function codeOf(error: unknown): ErrorCode {
  const name = error instanceof SyscallError ? error.errnoName : nodeErrorName(error);
  if (name !== undefined && damageErrnos.has(name)) return "data_loss";
  return error instanceof AppError && error.code === "resource_exhausted" ? error.code : "internal";
}

/** The errno that an error of node:fs carries. */
function nodeErrorName(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

function mountFiles(files: ImageFiles, target: string, directIo: boolean): MountMode {
  mountErofs({ source: files.image, devices: files.packs, target, directIo });
  return { method: "file", directIo };
}

/** Once mounted, the mount alone holds the devices: they clear themselves when it goes. */
function mountLoops(files: ImageFiles, target: string, directIo: boolean): MountMode {
  const devices: LoopDevice[] = [];
  try {
    for (const path of [files.image, ...files.packs]) devices.push(openLoop(path, directIo));
    const [source = "", ...rest] = devices.map((device) => device.path);
    mountErofs({ source, devices: rest, target, directIo: false });
    return { method: "loop", directIo: devices.every((device) => device.directIo) };
  } finally {
    for (const device of devices) close(device.fd);
  }
}

/** Of one target; more means that something mounts as fast as we unmount. */
const stackedMountsMax = 64;

/**
 * Unmounts everything at `target` and removes the directory; no error if nothing is there. Throws
 * AppError `failed_precondition` while a process uses the mount: it is never detached under its
 * user, whose reads could then hit blocks that were given back.
 */
export function unmountTarget(target: string): void {
  for (let count = 0; unmountOnce(target); count++) {
    if (count === stackedMountsMax)
      throw new AppError("internal", `Cannot unmount "${target}": it is mounted again and again`);
  }
  removeEmptyDirectory(target);
}

/** Whatever lies or is mounted there is not ours to delete. */
const keepingErrnos: ReadonlySet<string> = new Set(["ENOENT", "ENOTEMPTY", "EBUSY"]);

function removeEmptyDirectory(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (!keepingErrnos.has(nodeErrorName(error) ?? "")) throw error;
  }
}

function unmountOnce(target: string): boolean {
  try {
    return unmount(target);
  } catch (error) {
    if (!(error instanceof SyscallError) || error.errnoName !== "EBUSY") throw error;
    const remedy = `Find who uses it: fuser -vm "${target}"`;
    const message = `Cannot unmount "${target}": a process uses it`;
    throw new AppError("failed_precondition", message, { cause: error, remedy });
  }
}
