/** Bytes a folder takes on disk, as `du` counts them: blocks, hard links once, no other mounts. */
import { runCommand } from "../../scripts/lib/process.ts";

export async function diskUsage(folder: string): Promise<number> {
  const output = await runCommand(["du", "--summarize", "--one-file-system", "-B1", folder]);
  return Number.parseInt(output, 10);
}
