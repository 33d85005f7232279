/**
 * Deletes a directory with all it holds, whatever the length of its paths.
 *
 * node:fs goes by path, and a layer may hold paths longer than the kernel takes (PATH_MAX). This
 * goes by descriptors, follows no symlink, and keeps one open directory a level.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import { openFlag } from "../../ffi/constants.ts";
import { readDirectory, type DirectoryEntry } from "../../ffi/directory.ts";
import { errnoNumber, isErrno } from "../../ffi/errno.ts";
import { close, open, openDirectoryAt } from "../../ffi/file.ts";
import { removeDirectoryAt, unlinkAt } from "../../ffi/unlink.ts";
import { fileType } from "../erofs/tree.ts";
import { byteStringOfText, type ByteString } from "../util/byte-string.ts";

interface Level {
  readonly fd: number;
  readonly name: ByteString;
  readonly parentFd: number;
  entries: DirectoryEntry[];
}

/** No error if the path is not there; blocks the thread. */
export function removeTree(path: string): void {
  const parentFd = open(dirname(path), openFlag.readOnly | openFlag.directory);
  const levels: Level[] = [];
  try {
    enter(levels, parentFd, byteStringOfText(basename(path)));
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const entry = level.entries.pop();
      if (entry === undefined) leave(levels, level);
      else if (entry.type === fileType.directory) enter(levels, level.fd, entry.name);
      else removeName(levels, level, entry.name);
    }
  } finally {
    for (const level of levels) close(level.fd);
    close(parentFd);
  }
}

function enter(levels: Level[], parentFd: number, name: ByteString): void {
  let fd: number;
  try {
    fd = openDirectoryAt(parentFd, name);
  } catch (error) {
    if (isErrno(error, errnoNumber.noEntry)) return;
    throw error;
  }
  const level: Level = { fd, name, parentFd, entries: [] };
  levels.push(level);
  level.entries = readDirectory(fd);
}

function leave(levels: Level[], level: Level): void {
  levels.pop();
  close(level.fd);
  removeDirectoryAt(level.parentFd, level.name);
}

/** Some file systems do not tell the type of an entry: then the kernel tells now. */
function removeName(levels: Level[], level: Level, name: ByteString): void {
  try {
    unlinkAt(level.fd, name);
  } catch (error) {
    if (!isErrno(error, errnoNumber.isDirectory)) throw error;
    enter(levels, level.fd, name);
  }
}
