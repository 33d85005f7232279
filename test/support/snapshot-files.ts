/**
 * What the kernel shows of a committed snapshot that holds nothing but files in its root.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { mounted } from "./mounted.ts";
import type { SnapshotsClient } from "./snapshots-client.ts";

export type Files = ReadonlyMap<string, Buffer>;

/** Which names and contents are not as expected; empty where all is right. */
export async function fileDifferences(
  client: SnapshotsClient,
  name: string,
  files: Files,
): Promise<string[]> {
  const key = `view-${name}`;
  const wrong: string[] = [];
  {
    using view = mounted(await client.view(key, name));
    const found = new Set(readdirSync(view.path));
    for (const [file, content] of files) {
      const isRight = found.delete(file) && readFileSync(join(view.path, file)).equals(content);
      if (!isRight) wrong.push(`${name}: ${file} is not as it was written`);
    }
    for (const file of found) wrong.push(`${name}: ${file} was never written`);
  }
  await client.remove(key);
  return wrong;
}
