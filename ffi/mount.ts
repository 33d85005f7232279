/**
 * Mounting EROFS, overlays and binds, and unmounting. All of it may block: worker threads only.
 *
 * @module
 */
import { assert } from "../src/util/assert.ts";
import { fsContext, mountFlag, unmountFlag } from "./constants.ts";
import { check, errnoNumber, isErrno } from "./errno.ts";
import { FsContext } from "./fs-context.ts";
import { libc } from "./libc.ts";
import { cPath } from "./memory.ts";

export interface ErofsMount {
  /** The primary device: an image file (Linux 6.12) or a block device; absolute. */
  readonly source: string;
  /** Files or block devices in the order of the image's device table; absolute. */
  readonly devices: readonly string[];
  /** An existing directory; absolute. A symlink in the last place is not followed. */
  readonly target: string;
  /** Reads files with O_DIRECT (Linux 6.15); not for block devices. */
  readonly directIo: boolean;
}

/**
 * Mounts an EROFS image read-only. Device nodes in it work, as they must in containers. Throws
 * `SyscallError`; ENOTBLK means that the kernel cannot mount EROFS from files.
 */
export function mountErofs(mount: ErofsMount): void {
  using context = new FsContext("erofs");
  context.setPath("source", mount.source);
  for (const device of mount.devices) context.setPath("device", device);
  if (mount.directIo) context.setFlag("directio");
  context.setFlag("ro");
  context.attach(mount.target, fsContext.attributeReadOnly | fsContext.attributeNoAtime);
}

export interface OverlayMount {
  /** From the top down; at least one. */
  readonly lower: readonly string[];
  /** Both or none; without them the overlay is read-only. */
  readonly upper?: string;
  readonly work?: string;
  readonly target: string;
}

/** Mounts an overlay as containerd does: mount(2) with one option string of at most 4095 bytes. */
export function mountOverlay(mount: OverlayMount): void {
  assert((mount.upper === undefined) === (mount.work === undefined), "upper and work go together");
  const directories = [...mount.lower, mount.upper ?? "", mount.work ?? ""];
  assert(!directories.some((path) => /[,:\\]/.test(path)), "a path that overlay would take apart");
  const options = [`lowerdir=${mount.lower.join(":")}`];
  if (mount.upper !== undefined) options.push(`upperdir=${mount.upper}`, `workdir=${mount.work}`);
  const text = cPath(options.join(","));
  const result = libc().mount(cPath("overlay"), cPath(mount.target), cPath("overlay"), 0, text);
  check(result, "mount", mount.target);
}

/** Makes the directory or file `source` appear at `target` too. */
export function mountBind(source: string, target: string): void {
  const place = cPath(target);
  const result = libc().mount(cPath(source), place, null, mountFlag.bind, null);
  check(result, "mount", target);
}

/** Sets how mounts below `target` spread to other namespaces. */
export function setPropagation(target: string, propagation: "shared" | "private"): void {
  const result = libc().mount(null, cPath(target), null, mountFlag[propagation], null);
  check(result, "mount", target);
}

export interface UnmountOptions {
  /** Detaches at once and ends the mount when its last user goes (MNT_DETACH). */
  readonly lazily?: boolean;
}

/**
 * Unmounts the topmost mount at `target`. Throws `SyscallError` (EBUSY while in use).
 *
 * @returns false if nothing is mounted there, or nothing is there
 */
export function unmount(target: string, options: UnmountOptions = {}): boolean {
  const flags = unmountFlag.noFollow | (options.lazily ? unmountFlag.detach : 0);
  try {
    check(libc().umount2(cPath(target), flags), "umount2", target);
    return true;
  } catch (error) {
    if (isErrno(error, errnoNumber.invalid) || isErrno(error, errnoNumber.noEntry)) return false;
    throw error;
  }
}
