/** Which loop devices have a file below a folder: tests leave none behind. */
import { readdirSync, readFileSync } from "node:fs";

const waitMsMax = 5000;

/** The backing files below `folder`, of all loop devices; a device each. */
export function loopBackingFiles(folder: string): string[] {
  return readdirSync("/sys/block")
    .map(backingFileOf)
    .filter((file) => file.startsWith(`${folder}/`))
    .sort();
}

function backingFileOf(device: string): string {
  try {
    return readFileSync(`/sys/block/${device}/loop/backing_file`, "utf8").trimEnd();
  } catch {
    return ""; // No loop device, or one without a file.
  }
}

/**
 * Resolves when no loop device has a file below `folder`. A device clears itself when its last user
 * goes, which for a moment may be udev having a look at it.
 */
export async function noLoopsBelow(folder: string): Promise<void> {
  const deadlineMs = Date.now() + waitMsMax;
  for (;;) {
    const files = loopBackingFiles(folder);
    if (files.length === 0) return;
    if (Date.now() > deadlineMs) throw new Error(`still attached: ${files.join(", ")}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
