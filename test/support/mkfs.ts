/**
 * The mkfs.erofs of Debian forky on this machine, whose own cannot read a tar.
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensureForky } from "../../scripts/lib/forky.ts";

/** Writes a script that runs it with the libraries of its own tree; resolves with its path. */
export async function mkfsOfForky(folder: string): Promise<string> {
  const tree = await ensureForky();
  const script = join(folder, "mkfs.erofs");
  const libraries = new Bun.Glob("usr/lib/*-linux-gnu").scanSync({ cwd: tree, onlyFiles: false });
  const library = join(tree, [...libraries][0] ?? "");
  const loaders = [...new Bun.Glob("ld-linux-*.so.*").scanSync({ cwd: library, onlyFiles: false })];
  const command = `exec "${library}/${loaders[0]}" --library-path "${library}"`;
  const text = `#!/bin/sh\n${command} "${tree}/usr/bin/mkfs.erofs" "$@"\n`;
  writeFileSync(script, text, { mode: 0o755 });
  return script;
}
