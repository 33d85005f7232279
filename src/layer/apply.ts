/**
 * Builds a layer of a blob: bytes → tar → tree, while the content of the files goes to the packs.
 *
 * Nothing of the blob is believed before the end: what was read must have the digest the blob was
 * asked for by, or nothing is published. The tar is hashed to its end, also behind the end of the
 * archive, for the diff ID counts all of it.
 *
 * Where it fails although the blob is right, the failure is ours: a tar that we do not understand,
 * or that is beyond a limit, or a compression with a larger window than the runtime allows. It
 * becomes `unimplemented`, on which containerd's own differ gets its turn.
 *
 * @module
 */
import { AppError, describeError, type ErrorCode } from "../errors.ts";
import type { AppliedBlob, LayerBase } from "../snapshot/contract.ts";
import type { BlobKey } from "../store/layer-blobs.ts";
import type { BuiltLayer } from "../store/publish.ts";
import type { BlobSource, ReadElsewhere } from "./blob-bytes.ts";
import { build, type BuildEnvironment } from "./build.ts";
import { LowerDirectories } from "./lower-directories.ts";
import type { OpenTar, TarStream } from "./tar-stream.ts";
import { unknownLower } from "./tar-lower.ts";
import { buildTarTree, type TarTree, type TarTreeOptions } from "./tar-tree.ts";

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
  readonly openTar: OpenTar;
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
  await using tar = await surroundings.openTar(request.blob, surroundings.read);
  const throwIfCancelled = cancellation(request.blob, surroundings);
  const pieces = untilCancelled(tar.pieces(), throwIfCancelled);
  try {
    const built = await build(environment, async (place) => {
      const options = { ...place, chunkBytes: environment.chunkBytes, throwIfCancelled };
      const tree = await readTree(pieces, options, request.base);
      for await (const _ of pieces);
      await tar.verify();
      return { ...tree, applied: await tar.facts() };
    });
    const { dependsOnLower, hasWhiteouts, applied, ...layer } = built;
    const { diffId: diff_id, tarBytes: tar_bytes } = applied;
    const place = hasWhiteouts ? request.key.place : ("any" as const);
    const blob = dependsOnLower ? undefined : { ...request.key, place, diff_id, tar_bytes };
    return { layer: { ...layer, blob }, applied };
  } catch (error) {
    throw await explain(error, tar, request.blob);
  }
}

/** What the blob holds, without making anything of it. */
export async function inspectBlob(
  blob: BlobSource,
  surroundings: BlobSurroundings,
): Promise<AppliedBlob> {
  await using tar = await surroundings.openTar(blob, surroundings.read);
  try {
    for await (const _ of untilCancelled(tar.pieces(), cancellation(blob, surroundings)));
    await tar.verify();
    return await tar.facts();
  } catch (error) {
    throw await explain(error, tar, blob);
  }
}

/** The layers below are looked at only where the tar leaves something to them. */
async function readTree(
  tar: AsyncIterable<Uint8Array>,
  options: TarTreeOptions,
  { root, lower }: LayerBase,
): Promise<TarTree> {
  if (lower === "unknown") return buildTarTree(tar, { ...options, root, lower: unknownLower });
  if (lower.length === 0) return buildTarTree(tar, { ...options, root });
  using below = new LowerDirectories(lower);
  return await buildTarTree(tar, { ...options, root, lower: below });
}

function cancellation({ digest }: BlobSource, { isCancelled }: BlobSurroundings): () => void {
  return () => {
    if (isCancelled()) {
      throw new AppError("cancelled", `Nobody waits for layer "${digest}" any more`);
    }
  };
}

/** The same at each call, as the pieces are. */
function untilCancelled(
  pieces: AsyncIterable<Uint8Array>,
  throwIfCancelled: () => void,
): AsyncIterable<Uint8Array> {
  const iterator = pieces[Symbol.asyncIterator]();
  const next = () => {
    throwIfCancelled();
    return iterator.next();
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
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

async function explain(error: unknown, tar: TarStream, { digest }: BlobSource): Promise<AppError> {
  if (error instanceof AppError && passedOn.has(error.code)) return error;
  try {
    await tar.verify();
  } catch (damage) {
    if (damage instanceof AppError) return damage;
  }
  const problem = `Cannot make an image of blob "${digest}": ${describeError(error)}`;
  return new AppError("unimplemented", problem, { cause: error });
}
