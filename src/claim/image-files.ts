/**
 * What an image and its content are read from when it is mounted.
 *
 * A lazy pack that is not known to be complete is never named itself without somebody who watches
 * it: what is missing there would be read as zeros, and stay in the page cache.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { basename, dirname } from "node:path";
import type { ImageFiles, MountMethod } from "../mount/contract.ts";
import { type LayerRow, packIdsOf } from "../store/index-database.ts";
import { isLazyPack } from "../store/layout.ts";
import { lazyLayerOfPack } from "../store/lazy-layers.ts";
import { imagePath, packPath, type StorePaths } from "../store/paths.ts";
import type { LazyLayers } from "./lazy-layers.ts";

/**
 * @param method how the image is going to be mounted
 * @throws AppError as `LazyLayers.device`, and `failed_precondition` for a loop device over a pack
 *   that only the kernel's own events could fill: reads of loop devices raise none
 */
export async function imageFilesOf(
  { paths, index }: { readonly paths: StorePaths; readonly index: Database },
  layer: LayerRow,
  lazyLayers: Pick<LazyLayers, "device" | "requireWhole">,
  method: MountMethod,
): Promise<ImageFiles> {
  const pathOf = async (packId: number): Promise<string> => {
    const path = packPath(paths, packId);
    if (!isLazyPack(packId) || lazyLayerOfPack(index, packId)?.complete === 1) return path;
    const device = await lazyLayers.device(packId);
    if (method === "loop" && isIn(device, paths.packs)) await lazyLayers.requireWhole(packId);
    return device;
  };
  const packs = await Promise.all(packIdsOf(layer).map(pathOf));
  return { image: imagePath(paths, layer.id), packs };
}

/** By the name of the folder alone: dedupd may have the root by another name. */
function isIn(path: string, folder: string): boolean {
  return basename(dirname(path)) === basename(folder);
}
