/**
 * Files in a layer that are there for the sake of the lazy format (stargz-snapshotter,
 * docs/estargz.md, "Footer" and "Prioritized Files and Landmark Files").
 *
 * @module
 */
import { byteStringOfText, type ByteString } from "../util/byte-string.ts";

export const tocFileName = byteStringOfText("stargz.index.json");
/** All before it should be there before a container starts. */
export const prefetchLandmark = byteStringOfText(".prefetch.landmark");
/** Nothing has to be. */
export const noPrefetchLandmark = byteStringOfText(".no.prefetch.landmark");
/** The content of both landmarks. */
export const landmarkContent = Buffer.from([0xf]);

export type SpecialFile = "table of contents" | "prefetch" | "no prefetch";

const specialFiles: ReadonlyMap<string, SpecialFile> = new Map([
  [tocFileName, "table of contents"],
  [prefetchLandmark, "prefetch"],
  [noPrefetchLandmark, "no prefetch"],
]);

/** Undefined for an ordinary file; the special ones lie in the root of the layer. */
export function specialFile(name: ByteString): SpecialFile | undefined {
  return specialFiles.get(name.replace(/^(?:\.?\/)+/, ""));
}
