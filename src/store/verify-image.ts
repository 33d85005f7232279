/** Whether an image file is the one that was published. */
import { statSync } from "node:fs";
import { AppError } from "../errors.ts";
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

/** Throws `data_loss` for a damaged image: what it would serve cannot be trusted. */
export function verifyImage(image: ImageIdentity): void {
  const problem = problemOfImage(image);
  if (problem === undefined) return;
  throw new AppError("data_loss", `Image "${image.path}" ${problem}`, {
    remedy:
      "remove the images that use this layer and pull them again; " +
      "`dedup-snapshotter check` lists all damage",
  });
}
