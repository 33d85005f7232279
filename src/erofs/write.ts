/**
 * The EROFS writer: `planImage` places everything, `emitImage` writes it.
 *
 * @module
 */
export {
  type Bundle,
  type CompressionAlgorithm,
  compressionAlgorithm,
  type Packing,
} from "./compression.ts";
export { emitImage, type EmittedImage } from "./emit.ts";
export type { ImageSink } from "./image-stream.ts";
export { type ImagePlan, planImage, type PlanOptions } from "./plan.ts";
export type { Device } from "./superblock.ts";
