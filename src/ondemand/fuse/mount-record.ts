/**
 * Which mount the kept channel belongs to: `<root>/lazy.fuse.json`.
 *
 * Nothing else has to be remembered: how requests look was settled with the kernel at the mount,
 * and a process that answers differently than its predecessor asked for would be another version
 * of this program, whose record has another `version`.
 *
 * @module
 */
import { join } from "node:path";
import { z } from "zod";
import { readBootRecord, writeBootRecord } from "../boot-record.ts";

const schema = z.object({
  /** Raised with every change of what FUSE_INIT is answered and of how nodes are numbered. */
  version: z.literal(1),
  /** `major:minor` of the file system. */
  device: z.string(),
  bootId: z.string(),
});

export type MountRecord = Pick<z.infer<typeof schema>, "device">;

const fileName = "lazy.fuse.json";

/** Undefined for none, one of another boot or of another version. */
export function readMountRecord(root: string): MountRecord | undefined {
  try {
    return readBootRecord(join(root, fileName), schema);
  } catch {
    return undefined;
  }
}

export function writeMountRecord(root: string, { device }: MountRecord): void {
  writeBootRecord<z.infer<typeof schema>>(join(root, fileName), { version: 1, device });
}
