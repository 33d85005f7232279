/**
 * The channel of a FUSE file system, /dev/fuse: mounting, reading requests, writing replies. What
 * the bytes mean is not known here.
 *
 * All threads read from one opening of the device. FUSE_DEV_IOC_CLONE would give each thread its
 * own queue of requests under way, but the kernel ends those with ECONNABORTED when that opening
 * is closed, whoever else has the channel (fs/fuse/dev.c, fuse_dev_release): a killed process would
 * take its readers with it.
 *
 * @module
 */
import { mountFlag, openFlag } from "./constants.ts";
import { check, errnoNumber, lastErrno, SyscallError } from "./errno.ts";
import { open } from "./file.ts";
import { libc } from "./libc.ts";
import { cPath } from "./memory.ts";

const devicePath = "/dev/fuse";

/** A channel without a file system yet, to `close`. */
export function openFuse(): number {
  return open(devicePath, openFlag.readWrite);
}

export interface FuseMount {
  readonly channel: number;
  /** An existing directory; absolute. */
  readonly target: string;
  /** mountinfo shows the type `fuse.<name>`, and the name as source. */
  readonly name: string;
  /** Type and permission bits of the root directory. */
  readonly rootMode: number;
  /** Most that one request asks for. */
  readonly readBytesMax: number;
}

/**
 * Mounts read-only, for all users, with the kernel checking permissions. The kernel's first request
 * (FUSE_INIT) is in the channel then. Throws `SyscallError`.
 */
export function mountFuse(mount: FuseMount): void {
  const options = [
    `fd=${mount.channel}`,
    `rootmode=${mount.rootMode.toString(8)}`,
    "user_id=0",
    "group_id=0",
    "allow_other",
    "default_permissions",
    `max_read=${mount.readBytesMax}`,
  ].join(",");
  const { readOnly, noSetUid, noDevices, noExecution } = mountFlag;
  const flags = readOnly | noSetUid | noDevices | noExecution;
  const type = cPath(`fuse.${mount.name}`);
  const result = libc().mount(cPath(mount.name), cPath(mount.target), type, flags, cPath(options));
  check(result, "mount", mount.target);
}

/** Reading was disturbed, or whoever asked has gone before the request was taken. */
const passingErrnos: ReadonlySet<number> = new Set([
  errnoNumber.interrupted,
  errnoNumber.again,
  errnoNumber.noEntry,
]);

/** The file system is gone: unmounted, or aborted through /sys/fs/fuse/connections. */
const endErrnos: ReadonlySet<number> = new Set([
  errnoNumber.noDevice,
  errnoNumber.connectionAborted,
]);

/**
 * Waits for a request. @returns its length in `buffer`; undefined when there will be none any more
 */
export function readRequest(channel: number, buffer: Uint8Array): number | undefined {
  for (;;) {
    const result = Number(libc().read(channel, buffer, buffer.length));
    if (result >= 0) return result;
    const errno = lastErrno();
    if (endErrnos.has(errno)) return undefined;
    if (!passingErrnos.has(errno)) throw new SyscallError("read", errno, devicePath);
  }
}

/**
 * Writes a reply or a notification. @returns false where the kernel knows no such request (any
 * more) or nothing it is notified about, or the file system is gone
 */
export function writeReply(channel: number, bytes: Uint8Array, lengthBytes: number): boolean {
  const result = Number(libc().write(channel, bytes, lengthBytes));
  if (result >= 0) return true;
  const errno = lastErrno();
  if (errno === errnoNumber.noEntry || endErrnos.has(errno)) return false;
  throw new SyscallError("write", errno, devicePath);
}
