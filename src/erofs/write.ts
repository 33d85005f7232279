/**
 * The EROFS writer: `planImage` places everything, `emitImage` writes it.
 *
 * @module
 */
export { emitImage, type EmittedImage } from "./emit.ts";
export type { ImageSink } from "./image-stream.ts";
export { type ImagePlan, planImage, type PlanOptions } from "./plan.ts";
export type { Device } from "./superblock.ts";
