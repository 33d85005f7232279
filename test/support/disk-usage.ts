/** What folders take on disk. */
import { runCommand, tryCommand, waitUntil } from "../../scripts/lib/process.ts";

const duCommand = ["du", "--summarize", "--one-file-system", "-B1"];

/** Bytes of a folder as `du` counts them: blocks, hard links once, no other mounts. */
export async function diskUsage(folder: string): Promise<number> {
  return Number.parseInt(await runCommand([...duCommand, folder]), 10);
}

/** The same of a folder in which files are still being deleted, once it does not change. */
export async function settledDiskUsage(folder: string): Promise<number> {
  let last = -1;
  const isSettled = async () => {
    const { exitCode, stdout } = await tryCommand([...duCommand, folder]);
    const previous = last;
    last = exitCode === 0 ? Number.parseInt(stdout, 10) : -1;
    return last >= 0 && last === previous;
  };
  await waitUntil(isSettled, `${folder} does not settle`);
  return last;
}
