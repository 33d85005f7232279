/** Deleting names relative to a directory: unlinkat(2). */
import { type ByteString, displayName } from "../src/util/byte-string.ts";
import { atFlag } from "./constants.ts";
import { check, errnoNumber, isErrno } from "./errno.ts";
import { libc } from "./libc.ts";
import { scratchName } from "./memory.ts";

/** Deletes a name that is no directory; false if there is none. */
export function unlinkAt(dirFd: number, name: ByteString): boolean {
  return remove(dirFd, name, 0);
}

/** Deletes an empty directory; false if there is none. */
export function removeDirectoryAt(dirFd: number, name: ByteString): boolean {
  return remove(dirFd, name, atFlag.removeDirectory);
}

function remove(dirFd: number, name: ByteString, flags: number): boolean {
  try {
    check(libc().unlinkat(dirFd, scratchName(name), flags), "unlinkat", displayName(name));
    return true;
  } catch (error) {
    if (isErrno(error, errnoNumber.noEntry)) return false;
    throw error;
  }
}
