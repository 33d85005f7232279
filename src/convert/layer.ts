/**
 * Makes one layer lazy: the part of a conversion that runs in a worker thread, from file to file.
 *
 * The source is verified as it goes by, both its digest and its diff ID: what comes out is only
 * given a name if what went in was right.
 *
 * @module
 */
import { open, rm, type FileHandle } from "node:fs/promises";
import { decompress } from "../compress/decompress.ts";
import { AppError } from "../errors.ts";
import type { LazyFormat } from "../lazy/model.ts";
import {
  type LayerParts,
  layerParts,
  type TarSource,
  type Wanted,
} from "../lazy/write/layer-parts.ts";
import type { LazyBlob } from "../lazy/write/layer-writer.ts";
import { lazyWriters } from "../lazy/write/writers.ts";
import { readFully, readPieces } from "../oci/bytes.ts";
import { verifyBlob } from "../registry/verify.ts";
import type { FileRange } from "../oci/contract.ts";
import { TiB } from "../util/bytes.ts";
import { FileSink } from "./file-sink.ts";

/** What a small blob may become; no layer is near it, and a bomb ends there. */
const tarBytesMax = 4 * TiB;

export interface LayerJob extends Wanted {
  readonly source: FileRange;
  readonly digest: string;
  readonly diffId: string;
  readonly format: LazyFormat;
  /** Where the blob goes; with a suffix, the tar, where it has to be read twice. */
  readonly target: string;
}

export type ConvertedLayer = LazyBlob & Pick<LayerParts, "found" | "known">;

/**
 * @param onProgress told how many bytes of the blob were read since it was told last
 * @throws AppError `unimplemented` for a layer that cannot be lazy, `data_loss` for a damaged one
 */
export async function convertLayer(
  job: LayerJob,
  onProgress: (bytes: number) => void,
): Promise<ConvertedLayer> {
  await using blob = await open(job.source.path, "r");
  const tar = new SourceTar(job, readPieces(blob, job.source), onProgress);
  const spool = `${job.target}.tar`;
  try {
    if (job.wanted.length === 0 && job.traced.length === 0) {
      const source = { stream: () => tar.pieces(), read: () => Promise.reject(notSpooled()) };
      return await write(job, source, () => tar.verify());
    }
    await spoolTar(tar, spool);
    await using file = await open(spool, "r");
    return await write(job, await spoolSource(file), () => Promise.resolve());
  } finally {
    await rm(spool, { force: true });
  }
}

async function write(
  job: LayerJob,
  source: TarSource,
  verify: () => Promise<void>,
): Promise<ConvertedLayer> {
  const { parts, found, known } = await layerParts(source, job.format, job);
  await using sink = await FileSink.create(job.target);
  const blob = await lazyWriters[job.format](parts, (bytes) => sink.write(bytes));
  await verify();
  await sink.finish();
  return { ...blob, found, known };
}

/** All of the tar in a file, verified. */
async function spoolTar(tar: SourceTar, path: string): Promise<void> {
  await using sink = await FileSink.create(path);
  for await (const piece of tar.pieces()) await sink.write(piece);
  await tar.verify();
  await sink.finish();
}

async function spoolSource(file: FileHandle): Promise<TarSource> {
  const { size } = await file.stat();
  return {
    stream: () => readPieces(file, { offsetBytes: 0, lengthBytes: size }),
    read: (offsetBytes, lengthBytes) => readFully(file, offsetBytes, lengthBytes),
  };
}

function notSpooled(): AppError {
  return new AppError("internal", "The tar of a layer is read in order only");
}

/** The decompressed blob, hashed as it goes by. */
class SourceTar {
  readonly #job: LayerJob;
  readonly #hasher = new Bun.CryptoHasher("sha256");
  readonly #pieces: AsyncGenerator<Uint8Array, void>;
  #sizeBytes = 0;

  constructor(job: LayerJob, blob: AsyncIterable<Uint8Array>, onProgress: (bytes: number) => void) {
    this.#job = job;
    this.#pieces = this.#readAll(countBytes(blob, onProgress));
  }

  /** The same at each call: who stops early lets the next go on. */
  pieces(): AsyncIterable<Uint8Array> {
    const next = () => this.#pieces.next();
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  /** Reads what nobody has read yet; throws `data_loss` for a tar with another diff ID. */
  async verify(): Promise<void> {
    for await (const _ of this.pieces());
    const found = `sha256:${this.#hasher.digest("hex")}`;
    if (found === this.#job.diffId) return;
    const problem = `Its tar has the digest ${found}, not ${this.#job.diffId} as configured`;
    throw new AppError("data_loss", problem);
  }

  async *#readAll(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    const { source, digest } = this.#job;
    const blob = { digest, sizeBytes: source.lengthBytes };
    for await (const piece of decompress(verifyBlob(blob, bytes))) {
      this.#sizeBytes += piece.length;
      if (this.#sizeBytes > tarBytesMax) {
        throw new AppError("resource_exhausted", "It holds more than 4 TiB");
      }
      this.#hasher.update(piece);
      // Whoever takes it keeps it for a while.
      yield piece.slice();
    }
  }
}

async function* countBytes(
  pieces: AsyncIterable<Uint8Array>,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void> {
  for await (const piece of pieces) {
    onProgress(piece.length);
    yield piece;
  }
}
