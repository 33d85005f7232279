/**
 * How this node mounts layers: found by trying, once at the start.
 *
 * @module
 */
import { basename } from "node:path";
import type { LazyLayers } from "./claim/lazy-layers.ts";
import { AppError } from "./errors.ts";
import type { MkfsResult } from "./mkfs/probe.ts";
import type { ImageFiles, MountDriver, MountMode } from "./mount/contract.ts";
import { NodeLayerMounts } from "./mount/layer-mounts.ts";
import type { CompressionResult } from "./mount/probe-compression.ts";
import type { ProbeResult } from "./mount/probe.ts";
import type { OpenRoot } from "./root.ts";
import { findLayer, imageIdentity, type LayerRow, packIdsOf } from "./store/index-database.ts";
import { lazyLayerOfPack } from "./store/lazy-layers.ts";
import { imagePath, packPath } from "./store/paths.ts";
import type { FileStamp } from "./store/verify-image.ts";
import type { Surroundings } from "./surroundings.ts";

export async function openMounts(
  surroundings: Surroundings,
  lazyLayers: LazyLayers,
): Promise<NodeLayerMounts> {
  const { config, root, log, mounter } = surroundings;
  const { method, idle_timeout_ms: idleMs } = config.mount;
  const probe = await mounter.call<ProbeResult>("probeMount", { method });
  for (const { tried, reason } of probe.failed) log.info({ ...tried, reason }, "cannot mount so");
  log.info(probe.mode, "mounting images");
  await chooseCompression(surroundings, probe.mode);
  if (config.erofs.builder === "mkfs") await chooseMkfs(surroundings, probe.mode);
  const verified = new Map<number, FileStamp>();
  const driver: MountDriver = {
    mount: (files, target) => mountVerified(surroundings, verified, files, target, probe.mode),
    unmount: (target) => mounter.call("unmount", target),
  };
  return new NodeLayerMounts({
    directory: root.paths.mounts,
    driver,
    method: probe.mode.method,
    source: (layerId) => imageFilesOf(root, requireLayer(root, layerId), lazyLayers),
    idleMs,
    log,
  });
}

async function chooseCompression(surroundings: Surroundings, mode: MountMode): Promise<void> {
  const { config, log, mounter } = surroundings;
  const request = { compression: config.compression, level: config.compression_level, mode };
  const probe = await mounter.call<CompressionResult>("probeCompression", request);
  for (const { tried, reason } of probe.failed) log.info({ tried, reason }, "cannot compress so");
  log.info({ codec: probe.codec ?? "none" }, "compressing content");
  surroundings.codec = probe.codec;
}

async function chooseMkfs(surroundings: Surroundings, mode: MountMode): Promise<void> {
  const { config, log, mounter } = surroundings;
  const { mkfs_path: path, mkfs_options: options } = config.erofs;
  const probe = await mounter.call<MkfsResult>("probeMkfs", { path, options, mode });
  for (const { tried, reason } of probe.failed) log.info({ tried, reason }, "cannot run mkfs so");
  log.info({ ...probe.tool, version: probe.version }, "building images with mkfs.erofs");
  surroundings.mkfs = probe.tool;
}

/**
 * The target is named by the layer, so its image is known here and verified before the mount.
 *
 * @param verified the images that were mounted before, by layer
 */
async function mountVerified(
  { root, mounter }: Surroundings,
  verified: Map<number, FileStamp>,
  files: ImageFiles,
  target: string,
  mode: MountMode,
): Promise<void> {
  const layerId = Number(basename(target));
  const identity = imageIdentity(root.paths, requireLayer(root, layerId));
  const request = { files, target, mode, identity, verified: verified.get(layerId) };
  verified.set(layerId, await mounter.call<FileStamp>("mount", request));
}

function requireLayer(root: OpenRoot, layerId: number): LayerRow {
  const layer = findLayer(root.index, layerId);
  if (layer !== undefined) return layer;
  throw new AppError("data_loss", `The content of layer ${layerId} is lost`, {
    remedy: "remove the images that use the layer and pull them again",
  });
}

async function imageFilesOf(
  { paths, index }: OpenRoot,
  layer: LayerRow,
  lazyLayers: LazyLayers,
): Promise<ImageFiles> {
  // Content that may still be missing is read through whoever fetches it.
  const isMissing = (packId: number) => lazyLayerOfPack(index, packId)?.complete === 0;
  const pathOf = async (packId: number) =>
    isMissing(packId) ? lazyLayers.device(packId) : packPath(paths, packId);
  const packs = await Promise.all(packIdsOf(layer).map(pathOf));
  return { image: imagePath(paths, layer.id), packs };
}
