/** The names in a folder outlive a loss of power only once the folder itself is synced. */
import { closeSync, fsyncSync, openSync } from "node:fs";

export function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
