/**
 * Walking a large tree: the names and the status of all files.
 *
 * @module
 */
import { runCommand } from "../../lib/process.ts";
import { dropCaches } from "./caches.ts";

export interface WalkResult {
  readonly coldMs: number;
  readonly warmMs: number;
  readonly entries: number;
}

/** Counts the files, each with a stat(2) that `find` cannot do without. */
async function walk(root: string): Promise<{ readonly ms: number; readonly entries: number }> {
  const startMs = performance.now();
  const script = 'find "$1" -xdev -printf "%s %m %T@\\n" | wc -l';
  const entries = Number(await runCommand(["sh", "-c", script, "sh", root]));
  return { ms: performance.now() - startMs, entries };
}

export async function measureWalk(root: string): Promise<WalkResult> {
  await dropCaches();
  const cold = await walk(root);
  const warm = await walk(root);
  return { coldMs: cold.ms, warmMs: warm.ms, entries: cold.entries };
}
