/**
 * Which mount the kept channel belongs to: `<root>/lazy.fuse.json`.
 *
 * Nothing else has to be remembered: how requests look was settled with the kernel at the mount,
 * and a process that answers differently than its predecessor asked for would be another version
 * of this program, whose record has another `version`.
 *
 * @module
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { currentBootId } from "../presence.ts";

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
  let text: string;
  try {
    text = readFileSync(join(root, fileName), "utf8");
  } catch {
    return undefined;
  }
  const record = schema.safeParse(parseJson(text)).data;
  return record?.bootId === currentBootId() ? record : undefined;
}

export function writeMountRecord(root: string, { device }: MountRecord): void {
  const record: z.infer<typeof schema> = { version: 1, device, bootId: currentBootId() };
  const path = join(root, fileName);
  writeFileSync(`${path}.new`, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
