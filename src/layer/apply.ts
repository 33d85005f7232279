/**
 * Builds a layer of a blob: bytes → tar → tree, while the content of the files goes to the packs.
 *
 * Nothing of the blob is believed before the end: what was read must have the digest the blob was
 * asked for by, or nothing is published. The tar is hashed to its end, also behind the end of the
 * archive, for the diff ID counts all of it.
 *
 * Where it fails although the blob is right, the failure is ours: a tar we do not understand, or a
 * compression with a larger window than the runtime allows. It becomes `unimplemented`, on which
 * containerd's own differ gets its turn.
 *
 * @module
 */
import { decompress } from "../compress/decompress.ts";
import { AppError, describeError, type ErrorCode } from "../errors.ts";
import type { AppliedBlob, LayerBase } from "../snapshot/contract.ts";
import type { BlobKey } from "../store/layer-blobs.ts";
import type { BuiltLayer } from "../store/publish.ts";
import { TiB } from "../util/bytes.ts";
import { BlobBytes, type BlobSource, type ReadElsewhere } from "./blob-bytes.ts";
import { build, type BuildEnvironment, type ContentPlace } from "./build.ts";
import { LowerDirectories } from "./lower-directories.ts";
import { unknownLower } from "./tar-lower.ts";
import { buildTarTree, type TarTree } from "./tar-tree.ts";

/** What a small blob may become; no layer is near it, and a bomb ends there. */
const tarBytesMax = 4 * TiB;

export interface BlobBuild {
  readonly blob: BlobSource;
  readonly base: LayerBase;
  /** Under which the layer is found again. */
  readonly key: BlobKey;
}

export interface BlobSurroundings {
  /** Whether the client has gone away. */
  readonly isCancelled: () => boolean;
  /** Reads the blob where it is no file. */
  readonly read: ReadElsewhere;
}

export interface BlobResult {
  readonly layer: BuiltLayer;
  readonly applied: AppliedBlob;
}

export async function buildFromBlob(
  environment: BuildEnvironment,
  request: BlobBuild,
  surroundings: BlobSurroundings,
): Promise<BlobResult> {
  await using bytes = await BlobBytes.open(request.blob, surroundings.read);
  const tar = new TarBytes(bytes, request.blob, surroundings.isCancelled);
  try {
    const { dependsOnLower, hasWhiteouts, ...layer } = await build(environment, async (place) => {
      const tree = await readTree(tar, place, request.base, environment.chunkBytes);
      await tar.drain();
      await bytes.verify();
      return tree;
    });
    const applied = tar.facts();
    const { diffId: diff_id, tarBytes: tar_bytes } = applied;
    const place = hasWhiteouts ? request.key.place : ("any" as const);
    const blob = dependsOnLower ? undefined : { ...request.key, place, diff_id, tar_bytes };
    return { layer: { ...layer, blob }, applied };
  } catch (error) {
    throw await explain(error, bytes, request.blob);
  }
}

/** What the blob holds, without making anything of it. */
export async function inspectBlob(
  blob: BlobSource,
  { isCancelled, read }: BlobSurroundings,
): Promise<AppliedBlob> {
  await using bytes = await BlobBytes.open(blob, read);
  const tar = new TarBytes(bytes, blob, isCancelled);
  try {
    await tar.drain();
    await bytes.verify();
    return tar.facts();
  } catch (error) {
    throw await explain(error, bytes, blob);
  }
}

/** The layers below are looked at only where the tar leaves something to them. */
async function readTree(
  tar: TarBytes,
  { sink }: ContentPlace,
  { root, lower }: LayerBase,
  chunkBytes: number,
): Promise<TarTree> {
  if (lower === "unknown") {
    return buildTarTree(tar.pieces(), { sink, chunkBytes, root, lower: unknownLower });
  }
  if (lower.length === 0) return buildTarTree(tar.pieces(), { sink, chunkBytes, root });
  using below = new LowerDirectories(lower);
  return await buildTarTree(tar.pieces(), { sink, chunkBytes, root, lower: below });
}

/** The decompressed blob, hashed as it goes by. */
class TarBytes {
  readonly #hasher = new Bun.CryptoHasher("sha256");
  readonly #pieces: AsyncGenerator<Uint8Array, void>;
  #sizeBytes = 0;

  constructor(bytes: BlobBytes, { digest }: BlobSource, isCancelled: () => boolean) {
    this.#pieces = this.#readAll(bytes, digest, isCancelled);
  }

  /** The same at each call: who stops early lets the next go on. */
  pieces(): AsyncIterable<Uint8Array> {
    const next = () => this.#pieces.next();
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  async drain(): Promise<void> {
    for await (const _ of this.pieces());
  }

  /** Of all that was read. */
  facts(): AppliedBlob {
    return { diffId: `sha256:${this.#hasher.digest("hex")}`, tarBytes: this.#sizeBytes };
  }

  async *#readAll(
    bytes: BlobBytes,
    digest: string,
    isCancelled: () => boolean,
  ): AsyncGenerator<Uint8Array, void> {
    for await (const piece of decompress(bytes.pieces())) {
      if (isCancelled()) {
        throw new AppError("cancelled", `Nobody waits for layer "${digest}" any more`);
      }
      this.#sizeBytes += piece.length;
      if (this.#sizeBytes > tarBytesMax) {
        throw new AppError("resource_exhausted", `Blob "${digest}" holds more than 4 TiB`);
      }
      this.#hasher.update(piece);
      yield piece;
    }
  }
}

/** Failures that are neither of the blob nor of what we can read. */
const passedOn: ReadonlySet<ErrorCode> = new Set([
  "cancelled",
  "unavailable",
  "resource_exhausted",
  "not_found",
  // Needs layers below that are not known (tar-lower.ts).
  "failed_precondition",
]);

async function explain(
  error: unknown,
  bytes: BlobBytes,
  { digest }: BlobSource,
): Promise<AppError> {
  if (error instanceof AppError && passedOn.has(error.code)) return error;
  try {
    await bytes.verify();
  } catch (damage) {
    if (damage instanceof AppError) return damage;
  }
  const problem = `Cannot make an image of blob "${digest}": ${describeError(error)}`;
  return new AppError("unimplemented", problem, { cause: error });
}
