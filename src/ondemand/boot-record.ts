/**
 * Records that count only in the boot in which they were written, each a JSON file that is replaced
 * as a whole.
 *
 * @module
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { z } from "zod";
import { currentBootId } from "./presence.ts";

/** Undefined where there is none of this boot. Throws for what is no such record. */
export function readBootRecord<T extends { readonly bootId: string }>(
  path: string,
  schema: z.ZodType<T>,
): T | undefined {
  if (!existsSync(path)) return undefined;
  const record = schema.parse(JSON.parse(readFileSync(path, "utf8")));
  return record.bootId === currentBootId() ? record : undefined;
}

/** Throws the system's error. */
export function writeBootRecord<T extends { readonly bootId: string }>(
  path: string,
  facts: Omit<T, "bootId">,
): void {
  const record = { ...facts, bootId: currentBootId() };
  writeFileSync(`${path}.new`, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
