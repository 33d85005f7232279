/**
 * Attributes of a directory that only some file systems have, as chattr(1) sets them.
 *
 * @module
 */
import { inodeFlagControl, openFlag } from "./constants.ts";
import { check } from "./errno.ts";
import { close, open } from "./file.ts";
import { libc } from "./libc.ts";
import { zeroed } from "./memory.ts";

/**
 * Says that what the directories in this one hold is unrelated: ext4 then puts each of them, with
 * all below it, in a block group of its own where it can (the flag `T` of chattr(1)).
 *
 * Throws SyscallError where the file system has no such flag.
 */
export function spreadSubdirectories(path: string): void {
  const fd = open(path, openFlag.readOnly | openFlag.directory);
  try {
    const flags = zeroed(8);
    check(libc().ioctl(fd, inodeFlagControl.get, flags), "ioctl FS_IOC_GETFLAGS", path);
    const before = flags.readUInt32LE();
    if ((before & inodeFlagControl.topDirectory) !== 0) return;
    flags.writeUInt32LE((before | inodeFlagControl.topDirectory) >>> 0);
    check(libc().ioctl(fd, inodeFlagControl.set, flags), "ioctl FS_IOC_SETFLAGS", path);
  } finally {
    close(fd);
  }
}
