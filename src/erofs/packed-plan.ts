/**
 * The packed inode: a file without a name, whose content is the bundles the image uses, one behind
 * the other. Files in a bundle are fragments: ranges of it.
 *
 * @module
 */
import { defined } from "../util/assert.ts";
import type { Bundle } from "./compression.ts";

export interface PackedPlan {
  readonly nid: number;
  readonly sizeBytes: number;
  readonly storedBlocks: number;
  /** By address. */
  readonly bundles: readonly Bundle[];
  /** Where in the packed inode the bundle at this address begins. */
  startOf(block: number): number;
}

/** Undefined for no bundles. `place` gives the slot of an inode whose content has this size. */
export function planPacked(
  blocks: ReadonlySet<number>,
  bundleAt: (block: number) => Bundle,
  place: (sizeBytes: number) => number,
): PackedPlan | undefined {
  if (blocks.size === 0) return undefined;
  const bundles = [...blocks].sort((left, right) => left - right).map((block) => bundleAt(block));
  const starts = new Map<number, number>();
  let sizeBytes = 0;
  let storedBlocks = 0;
  for (const bundle of bundles) {
    starts.set(bundle.block, sizeBytes);
    sizeBytes += bundle.sizeBytes;
    storedBlocks += bundle.storedBlocks;
  }
  return {
    nid: place(sizeBytes),
    sizeBytes,
    storedBlocks,
    bundles,
    startOf: (block) => defined(starts.get(block), `the bundle at block ${block}`),
  };
}
