/**
 * Builds `dist/dedup-snapshotter`: one executable that reads nothing from its working directory.
 *
 * Identifiers are not minified, because traces would then show one-letter names; the size is that
 * of Bun itself anyway.
 *
 * @module
 */
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import manifest from "../package.json" with { type: "json" };
import { formatSize } from "../src/util/bytes.ts";
import { tryCommand } from "./lib/process.ts";
import { binaryFile, projectFolder, say, seconds } from "./lib/project.ts";

/** The program, then an entry point for each kind of thread. */
const entries = ["main", "worker", "decoder", "filler-thread", "fuse-server", "fanotify-reader"];
const distFolder = join(projectFolder, "dist");

/** The version of package.json and, in a git checkout, the commit; `+` marks local changes. */
async function buildVersion(): Promise<string> {
  const git = ["git", "-C", projectFolder];
  const hash = await tryCommand([...git, "rev-parse", "--short=12", "HEAD"]);
  if (hash.exitCode !== 0) return manifest.version;
  const status = await tryCommand([...git, "status", "--porcelain", "--untracked-files=no"]);
  return `${manifest.version}-${hash.stdout.trim()}${status.stdout === "" ? "" : "+"}`;
}

/** Bun leaves the source map, which is embedded, beside the executable as well. */
async function removeStrayMaps(): Promise<void> {
  for (const name of await readdir(distFolder)) {
    if (name.endsWith(".map")) await rm(join(distFolder, name));
  }
}

/** Builds the executable; rejects with the bundler's messages. */
export async function build(): Promise<void> {
  const startMs = performance.now();
  const version = await buildVersion();
  await mkdir(distFolder, { recursive: true });
  await Bun.build({
    entrypoints: entries.map((name) => join(projectFolder, `src/${name}.ts`)),
    compile: { outfile: binaryFile, autoloadDotenv: false, autoloadBunfig: false },
    format: "esm",
    bytecode: true,
    minify: { syntax: true, whitespace: true, identifiers: false },
    sourcemap: "linked",
    define: { BUILD_VERSION: JSON.stringify(version) },
  });
  await removeStrayMaps();
  const { size } = await stat(binaryFile);
  const duration = seconds(performance.now() - startMs);
  say(`Built dist/dedup-snapshotter ${version}: ${formatSize(size)} in ${duration}`);
}

if (import.meta.main) {
  try {
    await build();
  } catch (error) {
    const messages = error instanceof AggregateError ? error.errors : [error];
    for (const message of messages) say(String(message));
    process.exitCode = 1;
  }
}
