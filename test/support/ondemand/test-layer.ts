/** The layer that backends are tested with: the same bytes in every process. */
import { readFileSync } from "node:fs";
import { KiB, MiB } from "../../../src/util/bytes.ts";
import { randomBytes } from "../random.ts";
import { type LazyLayer, makeLazyLayer, openLazyLayer } from "./lazy-layer.ts";

export const testPackId = 512;

/** A program that needs nothing of the layer but itself. */
export const programName = "sha256sum";

function filesOf(): Map<string, Uint8Array> {
  return new Map<string, Uint8Array>([
    ["large", randomBytes("large", 6 * MiB + 123)],
    ["small", randomBytes("small", 777)],
    [programName, readFileSync(`/usr/bin/${programName}`)],
    ["other", randomBytes("other", 700 * KiB + 1)],
  ]);
}

/** @param packsFolder where packs and images are */
export function makeTestLayer(packsFolder: string): LazyLayer {
  return makeLazyLayer(packsFolder, testPackId, filesOf());
}

export function openTestLayer(packsFolder: string): LazyLayer {
  return openLazyLayer(packsFolder, testPackId, filesOf());
}
