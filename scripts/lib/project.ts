/** Where the parts of the project are. */
import { dirname, join } from "node:path";

export const projectFolder = dirname(dirname(import.meta.dir));
export const binaryFile = join(projectFolder, "dist", "dedup-snapshotter");

/** One line of progress; the scripts write everything of their own to standard error. */
export function say(message: string): void {
  process.stderr.write(`${message}\n`);
}

export function seconds(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(1)} s`;
}
