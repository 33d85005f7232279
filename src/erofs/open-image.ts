/**
 * Opening an image: superblock, device table, and that the image is as long as it says.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { DeviceMap } from "./device-map.ts";
import { blockSizeBytes, deviceSlotSizeBytes } from "./format.ts";
import { ImageBytes, type ReadImage } from "./image-bytes.ts";
import { type Device, readDeviceSlot, readSuperblock, type Superblock } from "./superblock.ts";

/** An open image, given to all functions that read it. */
export interface ErofsImage {
  readonly superblock: Superblock;
  /** In the order of the device table. */
  readonly devices: readonly Device[];
  /** Resolves unified addresses. */
  readonly deviceMap: DeviceMap;
  readonly bytes: ImageBytes;
}

/** Throws FormatError; what `read` throws passes through. */
export function openImage(read: ReadImage): ErofsImage {
  const bytes = new ImageBytes(read);
  const superblock = readSuperblock(bytes.take("EROFS superblock", 0, blockSizeBytes));
  const { blocks, deviceCount, deviceTableOffset } = superblock;
  if (blocks === 0) throw new FormatError("EROFS superblock", 0, "an image of no blocks");
  bytes.take("EROFS image", (blocks - 1) * blockSizeBytes, blockSizeBytes);
  const devices: Device[] = [];
  for (let slot = 0; slot < deviceCount; slot++) {
    const offset = deviceTableOffset + slot * deviceSlotSizeBytes;
    devices.push(readDeviceSlot(bytes.take("EROFS device table", offset, deviceSlotSizeBytes)));
  }
  const deviceMap = new DeviceMap(devices, blocks);
  const problem = deviceMap.findProblem();
  if (problem !== undefined) {
    throw new FormatError("EROFS device table", deviceTableOffset, problem);
  }
  return { superblock, devices, deviceMap, bytes };
}
