/**
 * Finds which compression the kernel reads, by mounting an image with it.
 *
 * @module
 */
import { compressionAlgorithm } from "../erofs/compression.ts";
import type { ExtentCodec } from "../erofs/extent-codec.ts";
import { AppError, describeError } from "../errors.ts";
import type { MountMode } from "./contract.ts";
import { type MountFunctions, readProbeImage, realFunctions, withProbeFolder } from "./probe.ts";
import { writeCompressedProbeImage } from "./probe-image.ts";

export type CompressionName = keyof typeof compressionAlgorithm;
export type RequestedCompression = "auto" | "none" | CompressionName;

export interface CompressionRequest {
  readonly compression: RequestedCompression;
  /** Null: what suits the algorithm. */
  readonly level: number | null;
  readonly mode: MountMode;
}

export interface CompressionResult {
  /** Undefined: content is stored as it is. */
  readonly codec: ExtentCodec | undefined;
  /** What was tried before, and why it did not do; for the log. */
  readonly failed: readonly { readonly tried: CompressionName; readonly reason: string }[];
}

const defaultLevels: Readonly<Record<CompressionName, number>> = { zstd: 3, deflate: 6 };
const levelsMax: Readonly<Record<CompressionName, number>> = { zstd: 19, deflate: 9 };
/** Best first. */
const candidates: readonly CompressionName[] = ["zstd", "deflate"];

/**
 * The best algorithm of those requested whose images can be mounted and read in `mode`. Writes to
 * `scratchDirectory` as `probeMountMode` does. May block: for worker threads.
 *
 * Rejects with AppError `failed_precondition` where a certain algorithm was requested in vain.
 */
export async function probeCompression(
  { compression, level, mode }: CompressionRequest,
  scratchDirectory: string,
  functions: MountFunctions = realFunctions,
): Promise<CompressionResult> {
  const failed: { tried: CompressionName; reason: string }[] = [];
  for (const tried of candidates) {
    if (compression !== "auto" && compression !== tried) continue;
    const codec = {
      algorithm: compressionAlgorithm[tried],
      level: Math.min(level ?? defaultLevels[tried], levelsMax[tried]),
    };
    try {
      await withProbeFolder(scratchDirectory, functions, async (folder) => {
        const image = await writeCompressedProbeImage(folder, codec);
        readProbeImage(image, folder, mode, functions);
      });
      return { codec, failed };
    } catch (error) {
      failed.push({ tried, reason: describeError(error) });
    }
  }
  if (compression === "auto" || compression === "none") return { codec: undefined, failed };
  const reasons = failed.map(({ reason }) => reason).join("; ");
  throw new AppError("failed_precondition", `Cannot use ${compression} compression: ${reasons}`, {
    remedy:
      "zstd needs Linux 6.10 with CONFIG_EROFS_FS_ZIP_ZSTD, deflate 6.6 with " +
      'CONFIG_EROFS_FS_ZIP_DEFLATE; "auto" takes what there is',
  });
}
