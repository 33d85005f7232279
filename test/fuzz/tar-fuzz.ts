/**
 * Nearly right tars against what must hold for any bytes: a tree that EROFS can store, or an error
 * of the kind callers know, in bounded time, whatever the pieces are in which the bytes come.
 *
 * @module
 */
import { planImage } from "../../src/erofs/write.ts";
import { AppError } from "../../src/errors.ts";
import { buildTarTree } from "../../src/layer/tar-tree.ts";
import type { LowerTree } from "../../src/layer/tar-lower.ts";
import { MiB } from "../../src/util/bytes.ts";
import { MemorySink } from "../support/tar/memory-sink.ts";
import { pieces } from "../support/tar/raw-tar.ts";
import { factsOfTree } from "../support/tar/tar-facts.ts";
import { mutatedTar } from "./tar-mutations.ts";

/** Such tars take a millisecond; ten seconds are a hang. */
const inputMsMax = 10_000;
const chunkBytes = 4 * MiB;
/** Files larger than this are not compared byte by byte: a hole may have a tebibyte. */
const comparedBytesMax = 64 * MiB;
const packBlocks = 2 ** 20;

const emptyLower: LowerTree = { find: () => undefined };

/** The tree as text, or the error's message; throws for what must not happen. */
async function outcome(tar: Uint8Array, pieceBytes: number, isFirst: boolean): Promise<string> {
  const sink = new MemorySink();
  const lower = isFirst ? undefined : emptyLower;
  try {
    const built = await buildTarTree(pieces(tar, pieceBytes), { sink, chunkBytes, lower });
    const { tree, contentBytes } = built;
    const devices = [{ tag: "pack", blocks: packBlocks, uniaddr: packBlocks }];
    planImage(tree, { devices, blockOf: () => packBlocks });
    if (contentBytes > comparedBytesMax) return "large";
    const inodes = Array.from({ length: tree.inodes.length }, (_, inode) => inode);
    const hasLarge = inodes.some((inode) => tree.inodes.sizeOf(inode) > comparedBytesMax);
    return hasLarge ? "large" : JSON.stringify([...factsOfTree(tree, sink)], asText);
  } catch (error) {
    if (error instanceof AppError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

function asText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}

/**
 * Builds the tree of the tar of this seed, twice.
 *
 * @returns what is wrong, or undefined
 */
export async function fuzzTar(seed: string): Promise<string | undefined> {
  const tar = mutatedTar(seed);
  const isFirst = tar.length % 2 === 0;
  const startMs = performance.now();
  try {
    const whole = await outcome(tar, tar.length + 1, isFirst);
    const inPieces = await outcome(tar, 1 + (tar.length % 700), isFirst);
    if (whole !== inPieces) return `not the same in pieces:\n${whole}\n${inPieces}`;
  } catch (error) {
    return `failed: ${error instanceof Error ? error.stack : String(error)}`;
  }
  const durationMs = performance.now() - startMs;
  return durationMs > inputMsMax ? `took ${Math.round(durationMs)} ms` : undefined;
}
