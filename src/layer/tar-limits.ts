/**
 * What a layer's tar may ask for. A tar is small when it comes over the wire, so the memory and the
 * time it may cost beyond its own bytes are bounded here; what it makes us write, by the disk.
 *
 * A layer beyond a limit is not refused: containerd's own differ gets it (layer/apply.ts).
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { GiB, KiB, MiB } from "../util/bytes.ts";

/** Of all entries of a tar together. */
export const tarLimits = {
  /** Replaced ones included, and directories that only paths name; a million is real. */
  entries: 2 ** 20,
  /** Names, link targets and extended attributes, which the tree keeps in memory. */
  metadataBytes: 64 * MiB,
  /**
   * Directories that no entry describes, each counted as often as it is deep: so long is the path
   * by which it is looked for in the layers below. A path of 4 KiB may need two thousand of them,
   * and what consists of such paths compresses well. Half a million are real, eight deep.
   */
  implicitDepths: 2 ** 22,
  /** Chunks of all files, holes included: 64 MiB of memory, 64 TiB of 4 MiB chunks. */
  chunks: 2 ** 24,
  /**
   * Bytes that are hashed without being in the tar: zeros beside the data of sparse files, and
   * files of the layers below that hard links lead to. Less than a minute.
   */
  impliedBytes: 16 * GiB,
  /** Names that are looked up or gone over in the tree, those of symlinks' targets included. */
  steps: 2 ** 26,
  /** Names that are looked up in directories of the layers below, in each of them. */
  lowerSteps: 2 ** 22,
} as const;

export type TarLimits = Readonly<Record<keyof typeof tarLimits, number>>;

const whatOf: Readonly<Record<keyof TarLimits, string>> = {
  entries: "entries",
  metadataBytes: "bytes of names and attributes",
  implicitDepths: "steps to directories without an entry of their own",
  chunks: "chunks",
  impliedBytes: "bytes of content that it does not hold itself",
  steps: "steps of paths",
  lowerSteps: "steps of paths in the layers below",
};

/** PATH_MAX without its NUL (include/uapi/linux/limits.h): no longer path can be opened. */
export const pathBytesMax = 4095;
/** As containerd's RootPath, and Linux has 40. */
export const linksPerPathMax = 255;
/** Extended attributes of one file; EROFS holds no more (h_shared_count and i_xattr_icount). */
export const xattrListBytesMax = 256 * KiB;
/** What an object in memory costs besides its bytes, such as an extended attribute. */
export const objectBytes = 256;

/** For what is right, but more than we take. */
export function limitError(problem: string): AppError {
  return new AppError("unimplemented", problem);
}

export interface TarBudgetOptions {
  /** Throws when nobody waits for the layer any more. */
  readonly throwIfCancelled?: (() => void) | undefined;
  /** Lower ones, for tests. */
  readonly limits?: Partial<TarLimits>;
}

/** What one tar has used up; asks at each charge whether anybody still waits. */
export class TarBudget {
  readonly #throwIfCancelled: (() => void) | undefined;
  readonly #limits: TarLimits;
  readonly #used = {
    entries: 0,
    metadataBytes: 0,
    implicitDepths: 0,
    chunks: 0,
    impliedBytes: 0,
    steps: 0,
    lowerSteps: 0,
  };

  constructor({ throwIfCancelled, limits }: TarBudgetOptions) {
    this.#throwIfCancelled = throwIfCancelled;
    this.#limits = { ...tarLimits, ...limits };
  }

  /** Throws AppError `unimplemented` beyond the limit, and what `throwIfCancelled` throws. */
  charge(what: keyof TarLimits, count: number): void {
    this.#throwIfCancelled?.();
    this.#used[what] += count;
    if (this.#used[what] <= this.#limits[what]) return;
    throw limitError(`The layer has more than ${this.#limits[what]} ${whatOf[what]}`);
  }
}
