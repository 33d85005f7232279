/**
 * Whether anybody has a file open: a process, a loop device, or the kernel itself for a mount, in
 * whatever mount namespace.
 *
 * Nothing lists all of these. But a write lease (fcntl(2), F_SETLEASE) is given only for a file
 * that nobody else has open, so asking for one tells (fs/locks.c, check_conflicting_open).
 *
 * @module
 */
import { fileControl, openFlag } from "./constants.ts";
import { check, errnoNumber, isErrno } from "./errno.ts";
import { close, open } from "./file.ts";
import { libc } from "./libc.ts";

export function isOpenElsewhere(path: string): boolean {
  const fd = open(path, openFlag.readOnly);
  try {
    check(libc().fcntl(fd, fileControl.setLease, fileControl.writeLease), "fcntl", path);
    // Given up by close(2); nobody can have been kept waiting for it that long.
    return false;
  } catch (error) {
    if (isErrno(error, errnoNumber.again)) return true;
    throw error;
  } finally {
    close(fd);
  }
}
