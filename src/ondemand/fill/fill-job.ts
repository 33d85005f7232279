/**
 * From bytes of a blob to content in a pack: decompress, verify, write. Runs in any thread.
 *
 * @module
 */
import { writeSync } from "node:fs";
import { AppError } from "../../errors.ts";
import { contentOf, decodeAtOnce } from "./decode.ts";

/** A piece as threads are told of it. */
export interface JobPiece {
  readonly piece: number;
  readonly packOffsetBytes: number;
  readonly sizeBytes: number;
  readonly sha256: Uint8Array;
  readonly innerOffsetBytes: number;
  /** In the bytes of the job. */
  readonly offsetBytes: number;
  readonly compressedBytes: number;
}

export interface FillJob {
  /** Descriptor of the pack; open until the job has ended. */
  readonly file: number;
  /** Of the blob. */
  readonly bytes: Uint8Array;
  /** Those of one member follow each other. */
  readonly pieces: readonly JobPiece[];
}

export interface FillResult {
  /** In the pack, verified. */
  readonly done: readonly number[];
  /** What came has another SHA-256, or does not decompress. */
  readonly mismatched: readonly number[];
}

/** Rejects where writing fails; what was written then is written again. */
export async function runFillJob({ file, bytes, pieces }: FillJob): Promise<FillResult> {
  const done: number[] = [];
  const mismatched: number[] = [];
  for (const member of members(pieces)) {
    const content = await decodeMember(bytes, member);
    for (const one of member) {
      const start = one.innerOffsetBytes;
      const part = content.subarray(start, start + one.sizeBytes);
      const isRight = hasHash(part, one.sha256);
      if (isRight) writeAll(file, part, one.packOffsetBytes);
      (isRight ? done : mismatched).push(one.piece);
    }
  }
  return { done, mismatched };
}

function* members(pieces: readonly JobPiece[]): Generator<readonly JobPiece[]> {
  let first = 0;
  for (let end = 1; end <= pieces.length; end++) {
    if (pieces[end]?.offsetBytes === pieces[first]?.offsetBytes) continue;
    yield pieces.slice(first, end);
    first = end;
  }
}

/** Once for all pieces in it; as far as it decompresses. */
async function decodeMember(bytes: Uint8Array, pieces: readonly JobPiece[]): Promise<Uint8Array> {
  const { offsetBytes = 0 } = pieces[0] ?? {};
  const compressedBytes = Math.max(...pieces.map((one) => one.compressedBytes));
  const wantedBytes = Math.max(...pieces.map((one) => one.innerOffsetBytes + one.sizeBytes));
  const compressed = bytes.subarray(offsetBytes, offsetBytes + compressedBytes);
  const atOnce = decodeAtOnce(compressed, wantedBytes);
  if (atOnce !== undefined) return atOnce;
  const source = (async function* () {
    yield compressed;
  })();
  const parts: Uint8Array[] = [];
  try {
    for await (const part of contentOf(source, 0, wantedBytes)) parts.push(part);
  } catch (error) {
    // What is missing then will not have its hash.
    if (!(error instanceof AppError) || error.code !== "data_loss") throw error;
  }
  return Buffer.concat(parts);
}

export function hasHash(content: Uint8Array, sha256: Uint8Array): boolean {
  return Buffer.compare(Bun.SHA256.hash(content) as Uint8Array, sha256) === 0;
}

/** Throws the system's error, ENOSPC above all. */
export function writeAll(file: number, content: Uint8Array, offsetBytes: number): void {
  for (let at = 0; at < content.length;) {
    at += writeSync(file, content, at, content.length - at, offsetBytes + at);
  }
}
