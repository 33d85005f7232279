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
import { AppError, describeError, type ErrorCode } from "../errors.ts";
import type { AppliedBlob, LayerBase } from "../snapshot/contract.ts";
import type { BlobKey } from "../store/layer-blobs.ts";
import type { BuiltLayer } from "../store/publish.ts";
import type { BlobSource, ReadElsewhere } from "./blob-bytes.ts";
import { build, type BuildEnvironment, type ContentPlace } from "./build.ts";
import { LowerDirectories } from "./lower-directories.ts";
import type { OpenTar, TarStream } from "./tar-stream.ts";
import { unknownLower } from "./tar-lower.ts";
import { buildTarTree, type TarTree } from "./tar-tree.ts";

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
  const pieces = untilCancelled(tar.pieces(), request.blob, surroundings.isCancelled);
  try {
    const built = await build(environment, async (place) => {
      const tree = await readTree(pieces, place, request.base, environment.chunkBytes);
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
    for await (const _ of untilCancelled(tar.pieces(), blob, surroundings.isCancelled));
    await tar.verify();
    return await tar.facts();
  } catch (error) {
    throw await explain(error, tar, blob);
  }
}

/** The layers below are looked at only where the tar leaves something to them. */
async function readTree(
  tar: AsyncIterable<Uint8Array>,
  place: ContentPlace,
  { root, lower }: LayerBase,
  chunkBytes: number,
): Promise<TarTree> {
  if (lower === "unknown") {
    return buildTarTree(tar, { ...place, chunkBytes, root, lower: unknownLower });
  }
  if (lower.length === 0) return buildTarTree(tar, { ...place, chunkBytes, root });
  using below = new LowerDirectories(lower);
  return await buildTarTree(tar, { ...place, chunkBytes, root, lower: below });
}

/** The same at each call, as the pieces are. */
function untilCancelled(
  pieces: AsyncIterable<Uint8Array>,
  { digest }: BlobSource,
  isCancelled: () => boolean,
): AsyncIterable<Uint8Array> {
  const iterator = pieces[Symbol.asyncIterator]();
  const next = () => {
    if (!isCancelled()) return iterator.next();
    throw new AppError("cancelled", `Nobody waits for layer "${digest}" any more`);
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
