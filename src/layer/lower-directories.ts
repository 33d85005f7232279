/**
 * The layers below a new one as overlayfs shows them, without an overlay mount: the merged view of
 * the directories in which they are.
 *
 * What overlayfs does (fs/overlayfs/namei.c, ovl_lookup): the nearest layer that has the name
 * decides; a directory is merged with those of the layers further down, up to one that is opaque,
 * and up to a whiteout or a file. The roots are merged whatever they are.
 *
 * Every step goes by a descriptor and follows no symlink: what a layer holds is not trusted.
 *
 * @module
 */
import { readSync } from "node:fs";
import { openFlag } from "../../ffi/constants.ts";
import {
  close,
  open,
  openDirectoryAt,
  openRegularAt,
  readLinkAt,
  seekData,
  seekHole,
} from "../../ffi/file.ts";
import { statAt, statOf, type FileStatus } from "../../ffi/status.ts";
import { getXattr, listXattrs } from "../../ffi/xattr.ts";
import { AppError } from "../errors.ts";
import { fileType, type Xattr } from "../erofs/tree.ts";
import { displayName, type ByteString } from "../util/byte-string.ts";
import type { ContentSource } from "./file-content.ts";
import type { LowerDirectory, LowerEntry, LowerFile, LowerTree } from "./tar-lower.ts";

const itself = "." as ByteString;
const overlayPrefix = "trusted.overlay.";

type CountSteps = (count: number) => void;
const ignore: CountSteps = () => undefined;

/** What the layers have under one name: merged directories, nearest first, or one file. */
type Found =
  | { readonly kind: "folders"; readonly folders: readonly number[] }
  | { readonly kind: "file"; readonly dirFd: number; readonly status: FileStatus };

export class LowerDirectories implements LowerTree, Disposable {
  readonly #roots: number[] = [];

  /** @param paths of the layers, nearest first; each has to stay as it is meanwhile */
  constructor(paths: readonly string[]) {
    try {
      for (const path of paths)
        this.#roots.push(open(path, openFlag.readOnly | openFlag.directory));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  find(path: ByteString, countSteps: CountSteps = ignore): LowerEntry | undefined {
    return this.#look(
      path,
      (found, name) => {
        if (found === undefined) return undefined;
        if (found.kind === "folders") return directoryEntry(found.folders);
        return this.#fileEntry(found, name, path);
      },
      countSteps,
    );
  }

  [Symbol.dispose](): void {
    for (const fd of this.#roots.splice(0)) close(fd);
  }

  /** Walks to the path; what was found is valid as long as `use` runs. */
  #look<T>(
    path: ByteString,
    use: (found: Found | undefined, name: ByteString) => T,
    countSteps: CountSteps = ignore,
  ): T {
    let found: Found | undefined = { kind: "folders", folders: this.#roots };
    let name = itself;
    const opened: number[] = [];
    try {
      for (name of path === "" ? [] : (path.split("/") as ByteString[])) {
        if (found?.kind !== "folders") return use(undefined, name);
        countSteps(found.folders.length);
        const above = opened.splice(0);
        try {
          found = step(found.folders, name, opened);
          if (found?.kind === "file") opened.push(...above.splice(0));
        } finally {
          for (const fd of above) close(fd);
        }
      }
      return use(found, name);
    } finally {
      for (const fd of opened) close(fd);
    }
  }

  #fileEntry(
    { dirFd, status }: Found & { kind: "file" },
    name: ByteString,
    path: ByteString,
  ): LowerFile {
    const attributes = { ...attributesOf(status), xattrs: xattrsOf(dirFd, name) };
    switch (status.mode & fileType.mask) {
      case fileType.regular: {
        const { sizeBytes } = status;
        return {
          type: "file",
          ...attributes,
          sizeBytes,
          content: this.#contentOf(path, sizeBytes),
        };
      }
      case fileType.symlink:
        return { type: "symlink", ...attributes, target: readLinkAt(dirFd, name) };
      default: {
        const { nodeMajor: deviceMajor, nodeMinor: deviceMinor } = status;
        return { type: "special", ...attributes, deviceMajor, deviceMinor };
      }
    }
  }

  /** Opened for each piece, which is up to some MiB: there may be any number of such files. */
  #contentOf(path: ByteString, sizeBytes: number): ContentSource {
    const withFile = <T>(use: (fd: number) => T): T =>
      this.#look(path, (found, name) => {
        const file = found?.kind === "file" ? openRegularAt(found.dirFd, name) : undefined;
        if (file === undefined) throw lost(path);
        try {
          return use(file.fd);
        } finally {
          close(file.fd);
        }
      });
    return {
      isSparse: withFile((fd) => (seekHole(fd, 0) ?? sizeBytes) < sizeBytes),
      nextData: (offset) => withFile((fd) => seekData(fd, offset)),
      read: (target, offset) => withFile((fd) => readFully(fd, target, offset, path)),
    };
  }
}

/** One name further; descriptors that it opens are added to `opened`. */
function step(folders: readonly number[], name: ByteString, opened: number[]): Found | undefined {
  const merged: number[] = [];
  for (const dirFd of folders) {
    const status = statusIn(dirFd, name);
    if (status === undefined) continue;
    if ((status.mode & fileType.mask) !== fileType.directory) {
      if (merged.length > 0 || isWhiteout(status)) break;
      return { kind: "file", dirFd, status };
    }
    const folder = openDirectoryAt(dirFd, name);
    opened.push(folder);
    merged.push(folder);
    if (isOpaque(folder)) break;
  }
  return merged.length === 0 ? undefined : { kind: "folders", folders: merged };
}

function statusIn(dirFd: number, name: ByteString): FileStatus | undefined {
  try {
    return statAt(dirFd, name);
  } catch (error) {
    if (error instanceof AppError && error.code === "not_found") return undefined;
    throw error;
  }
}

function isWhiteout({ mode, nodeMajor, nodeMinor }: FileStatus): boolean {
  const type = mode & fileType.mask;
  return type === fileType.characterDevice && nodeMajor === 0 && nodeMinor === 0;
}

function isOpaque(folder: number): boolean {
  const value = getXattr(folder, itself, `${overlayPrefix}opaque`);
  return value !== undefined && Buffer.from(value).toString("latin1") === "y";
}

function directoryEntry(folders: readonly number[]): LowerDirectory | undefined {
  const [nearest] = folders;
  if (nearest === undefined) return undefined;
  const attributes = attributesOf(statOf(nearest));
  return { type: "directory", ...attributes, xattrs: xattrsOf(nearest, itself) };
}

/** Without what overlayfs keeps for itself, which it does not show either. */
function xattrsOf(dirFd: number, name: ByteString): readonly Xattr[] {
  return listXattrs(dirFd, name).filter((xattr) => !xattr.name.startsWith(overlayPrefix));
}

function attributesOf(status: FileStatus) {
  const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds } = status;
  return { mode, uid, gid, mtimeSeconds, mtimeNanoseconds };
}

function readFully(fd: number, target: Buffer, offset: number, path: ByteString): void {
  for (let at = 0; at < target.length;) {
    const count = readSync(fd, target, at, target.length - at, offset + at);
    if (count === 0) throw lost(path);
    at += count;
  }
}

function lost(path: ByteString): AppError {
  return new AppError("data_loss", `"${displayName(path)}" of a layer below cannot be read`);
}
