/**
 * Which dedupd this serve would start: the program and what it is configured with. One that runs
 * and is of another generation is replaced, which is how an upgrade comes about.
 *
 * Told in the environment, which /proc shows of any process: so a dedupd of any version can be
 * asked, and a systemd unit of its own, which says nothing of the kind, is left alone.
 *
 * @module
 */
import { readFileSync, statSync } from "node:fs";
import { version } from "../version.ts";

export const generationVariable = "DEDUP_GENERATION";

/** The file of this program counts, not its path: the old one stays until nobody runs it. */
export function ownGeneration(config: object): string {
  const { dev, ino, mtimeMs } = statSync("/proc/self/exe");
  const parts = JSON.stringify([version, dev, ino, mtimeMs, config]);
  return new Bun.CryptoHasher("sha256").update(parts).digest("hex").slice(0, 32);
}

/** Undefined where the process was started by somebody else, or is gone. */
export function generationOf(pid: number): string | undefined {
  let environment: string;
  try {
    environment = readFileSync(`/proc/${pid}/environ`, "utf8");
  } catch {
    return undefined;
  }
  const prefix = `${generationVariable}=`;
  const entry = environment.split("\0").find((text) => text.startsWith(prefix));
  return entry?.slice(prefix.length);
}
