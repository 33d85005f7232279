/**
 * Go programs that tests are held against, compiled with Debian's own Go packages.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { copyFile, mkdir, rename } from "node:fs/promises";
import { basename, join } from "node:path";
import { ensurePackages } from "../../../scripts/lib/apt.ts";
import { runCommand } from "../../../scripts/lib/process.ts";
import { cacheFolder } from "../../../scripts/lib/temp.ts";

const packages = ["golang-go", "golang-github-containerd-containerd-dev"] as const;

/** Compiles a source file of this folder, unless the cache has it; the path of the program. */
export async function buildGoProgram(sourceName: string): Promise<string> {
  await ensurePackages(packages);
  const name = basename(sourceName, ".go");
  const source = join(import.meta.dir, sourceName);
  const versions = await runCommand(["dpkg-query", "-W", ...packages]);
  const hash = new Bun.CryptoHasher("sha256").update(await Bun.file(source).bytes());
  const cache = cacheFolder("go");
  const program = join(cache, `${name}-${hash.update(versions).digest("hex").slice(0, 16)}`);
  if (existsSync(program)) return program;
  const folder = join(cache, "gopath", "src", name);
  await mkdir(folder, { recursive: true });
  await copyFile(source, join(folder, "main.go"));
  const env = {
    GO111MODULE: "off",
    GOPATH: `${join(cache, "gopath")}:/usr/share/gocode`,
    GOCACHE: join(cache, "gocache"),
    GOFLAGS: "",
    // Debian's golang-go only recommends a C compiler.
    CGO_ENABLED: "0",
  };
  const partial = `${program}.${process.pid}`;
  await runCommand(["/usr/bin/go", "build", "-o", partial, "."], { cwd: folder, env });
  await rename(partial, program);
  return program;
}
