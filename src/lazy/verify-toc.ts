/** Whether a table of contents is the one that the image's manifest names. */
import { sha256Digest } from "../util/digest.ts";
import { tocError } from "./toc-fields.ts";

/** @param digest as the manifest has it; undefined: nothing is known to compare with */
export function verifyToc(bytes: Uint8Array, digest: string | undefined): void {
  if (digest === undefined) return;
  const found = sha256Digest(bytes);
  if (found !== digest) throw tocError(`it has the digest ${found}, not ${digest}`);
}
