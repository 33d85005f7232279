/** A file system that is soon full. */
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unmount } from "../../ffi/mount.ts";
import { runCommand } from "../../scripts/lib/process.ts";

const placeName = "small";

/** Makes and mounts an ext4 of this size below `folder`; resolves with where it is. */
export async function mountSmallDisk(folder: string, sizeBytes: number): Promise<string> {
  const disk = join(folder, "disk");
  const place = join(folder, placeName);
  writeFileSync(disk, "");
  truncateSync(disk, sizeBytes);
  mkdirSync(place);
  await runCommand(["mkfs.ext4", "-q", "-m", "0", disk]);
  await runCommand(["mount", "-o", "loop", disk, place]);
  return place;
}

export function unmountSmallDisk(folder: string): void {
  unmount(join(folder, placeName));
}
