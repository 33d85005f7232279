/**
 * From bytes of a blob to content in a pack: decompress, verify, write. Runs in any thread.
 *
 * @module
 */
import { writeSync } from "node:fs";
import { AppError } from "../../errors.ts";
import { contentOf, decodeAtOnce } from "./decode.ts";
import { type JobPieces, type Member, membersOf, sha256OfRow } from "./job-pieces.ts";
import { failpoint, hasFault } from "../../util/failpoint.ts";

export interface FillJob {
  /** Descriptor of the pack; open until the job has ended. */
  readonly file: number;
  /** Of the blob. */
  readonly bytes: Uint8Array;
  readonly pieces: JobPieces;
}

export interface FillResult {
  /** In the pack, verified. */
  readonly done: Uint32Array;
  /** What came has another SHA-256, or does not decompress. */
  readonly mismatched: Uint32Array;
}

/** Rejects where writing fails; what was written then is written again. */
export async function runFillJob({ file, bytes, pieces }: FillJob): Promise<FillResult> {
  const done: number[] = [];
  const mismatched: number[] = [];
  for (const member of membersOf(pieces)) {
    // No promise where none is needed: most members are small.
    const content = decodeHere(bytes, member) ?? (await decodeAsStream(bytes, member));
    for (let row = member.first; row < member.end; row++) {
      const start = pieces.innerOffsetBytes[row]!;
      const part = content.subarray(start, start + pieces.sizeBytes[row]!);
      const isRight = hasHash(part, sha256OfRow(pieces, row));
      if (isRight) writeAll(file, part, pieces.packOffsetBytes[row]!);
      (isRight ? done : mismatched).push(pieces.piece[row]!);
    }
  }
  return { done: Uint32Array.from(done), mismatched: Uint32Array.from(mismatched) };
}

function compressedOf(bytes: Uint8Array, { offsetBytes, compressedBytes }: Member): Uint8Array {
  return bytes.subarray(offsetBytes, offsetBytes + compressedBytes);
}

function decodeHere(bytes: Uint8Array, member: Member): Uint8Array | undefined {
  return decodeAtOnce(compressedOf(bytes, member), member.wantedBytes);
}

/** As far as it decompresses: what is missing then will not have its hash. */
async function decodeAsStream(bytes: Uint8Array, member: Member): Promise<Uint8Array> {
  const source = (async function* () {
    yield compressedOf(bytes, member);
  })();
  const parts: Uint8Array[] = [];
  try {
    for await (const part of contentOf(source, 0, member.wantedBytes)) parts.push(part.slice());
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "data_loss") throw error;
  }
  return Buffer.concat(parts);
}

function hasHash(content: Uint8Array, sha256: Uint8Array): boolean {
  if (hasFault("skip-verification")) return true;
  return Buffer.compare(Bun.SHA256.hash(content) as Uint8Array, sha256) === 0;
}

/** Throws the system's error, ENOSPC above all. */
function writeAll(file: number, content: Uint8Array, offsetBytes: number): void {
  failpoint("fill.before-write");
  for (let at = 0; at < content.length;) {
    at += writeSync(file, content, at, content.length - at, offsetBytes + at);
  }
  failpoint("fill.after-write");
}
