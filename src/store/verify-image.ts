/** Whether an image file is the one that was published. */
import { statSync } from "node:fs";
import { openFlag } from "../../ffi/constants.ts";
import { close, open, readAhead } from "../../ffi/file.ts";
import { AppError } from "../errors.ts";
import { MiB } from "../util/bytes.ts";
import { sha256OfFile } from "../util/file-hash.ts";

/** What the index knows of an image file. */
export interface ImageIdentity {
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: Uint8Array;
}

/** What is wrong with the file, as a predicate to its name; undefined for a good one. */
export function problemOfImage(image: ImageIdentity): string | undefined {
  const found = statSync(image.path, { throwIfNoEntry: false });
  if (found === undefined) return "is missing";
  if (found.size !== image.sizeBytes) return `has ${found.size} bytes, not ${image.sizeBytes}`;
  const isSame = Buffer.compare(sha256OfFile(image.path), image.sha256) === 0;
  return isSame ? undefined : "holds other bytes than were written";
}

/** Whether a file is the one it was, as far as that can be told without reading it. */
export type FileStamp = string;

function stampOf(path: string): FileStamp | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found && [found.ino, found.size, found.mtimeNs, found.ctimeNs].join(" ");
}

/** Enough for an image of some 200,000 files. */
const readAheadBytesMax = 16 * MiB;

/**
 * Throws `data_loss` for a damaged image: what it would serve cannot be trusted. A file that was
 * not touched since it was verified is not read again; the kernel is told to fetch it, as all of
 * its directories and inodes are in there and would be read block by block.
 *
 * @param verified what this function returned for the image before
 */
export function verifyImage(image: ImageIdentity, verified?: FileStamp): FileStamp {
  // Taken before the file is read: what changes meanwhile makes the stamp another one.
  const stamp = stampOf(image.path);
  if (stamp !== undefined && stamp === verified) {
    fetchAhead(image);
    return stamp;
  }
  const problem = stamp === undefined ? "is missing" : problemOfImage(image);
  if (stamp !== undefined && problem === undefined) return stamp;
  throw new AppError("data_loss", `Image "${image.path}" ${problem}`, {
    remedy:
      "remove the images that use this layer and pull them again; " +
      "`dedup-snapshotter check` lists all damage",
  });
}

function fetchAhead({ path, sizeBytes }: ImageIdentity): void {
  const fd = open(path, openFlag.readOnly);
  try {
    readAhead(fd, Math.min(sizeBytes, readAheadBytesMax));
  } finally {
    close(fd);
  }
}
