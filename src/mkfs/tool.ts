/**
 * The installed mkfs.erofs: which it is, and what it says it can do.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";

/** A way of running mkfs.erofs that was tried and made a right image. */
export interface MkfsTool {
  /** A path, or a name to look for in PATH. */
  readonly path: string;
  /** How a layer reaches it: as a tar on its standard input, or unpacked in a folder. */
  readonly source: "tar" | "directory";
  /** Has a choice of block sizes; since 1.6. Those before know 4 KiB only. */
  readonly hasBlockSize: boolean;
  /** Compression and the like, as on its command line. */
  readonly options: readonly string[];
}

export interface MkfsAbilities {
  /** Such as `1.5`; empty where it does not say. */
  readonly version: string;
  /** Reads a tar from its standard input; since 1.7. */
  readonly readsTar: boolean;
  /** Has a choice of block sizes; since 1.6. */
  readonly hasBlockSize: boolean;
}

const remedy =
  'install it (Debian, Ubuntu, Fedora: package "erofs-utils"), name it in "erofs.mkfs_path", or ' +
  'set "erofs.builder" to "native", which needs no tool';

/**
 * Asks the tool for its help, which says more than its version: distributions leave things out.
 *
 * @throws AppError `failed_precondition` where it is missing or does not run
 */
export async function askMkfs(path: string): Promise<MkfsAbilities> {
  try {
    const child = Bun.spawn([path, "--help"], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      cwd: "/",
    });
    const texts = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return parseHelp(`${texts[0]}\n${texts[1]}`);
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const problem = isMissing ? "it is not installed" : describeError(error);
    const message = `Cannot run "${path}" for erofs.builder "mkfs": ${problem}`;
    throw new AppError("failed_precondition", message, { cause: error, remedy });
  }
}

/** Versions differ in whether they answer on standard output, and whether with their version. */
export function parseHelp(help: string): MkfsAbilities {
  const version = /^mkfs\.erofs (?:\(erofs-utils\) )?v?([0-9][^\s]*)/m.exec(help);
  return {
    version: version?.[1] ?? "",
    readsTar: /^\s*--tar=/m.test(help),
    hasBlockSize: /^\s*-b#/m.test(help),
  };
}
