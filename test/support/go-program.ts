/**
 * Go programs that tests are held against, compiled with Debian's own Go packages and kept.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { copyFile, mkdir, rename } from "node:fs/promises";
import { basename, join } from "node:path";
import { ensurePackages } from "../../scripts/lib/apt.ts";
import { runCommand } from "../../scripts/lib/process.ts";
import { cacheFolder } from "../../scripts/lib/temp.ts";

const compiler = "golang-go";
const containerdLibrary = "golang-github-containerd-containerd-dev";

/**
 * Compiles a source file, unless the cache has it; the path of the program. A name that ends in
 * `_test.go` gives a test binary.
 *
 * @param library Debian's package of the library that it uses
 */
export async function buildGoProgram(source: string, library = containerdLibrary): Promise<string> {
  const packages = [compiler, library];
  await ensurePackages(packages);
  const name = basename(source, ".go");
  const versions = await runCommand(["dpkg-query", "-W", ...packages]);
  const hash = new Bun.CryptoHasher("sha256").update(await Bun.file(source).bytes());
  const cache = cacheFolder("go");
  const program = join(cache, `${name}-${hash.update(versions).digest("hex").slice(0, 16)}`);
  if (existsSync(program)) return program;
  const folder = join(cache, "gopath", "src", name);
  await mkdir(folder, { recursive: true });
  await copyFile(source, join(folder, basename(source)));
  const env = {
    GO111MODULE: "off",
    GOPATH: `${join(cache, "gopath")}:/usr/share/gocode`,
    GOCACHE: join(cache, "gocache"),
    GOFLAGS: "",
    // Debian's golang-go only recommends a C compiler.
    CGO_ENABLED: "0",
  };
  const command = name.endsWith("_test") ? ["test", "-c"] : ["build"];
  const partial = `${program}.${process.pid}`;
  await runCommand(["/usr/bin/go", ...command, "-o", partial, "."], { cwd: folder, env });
  await rename(partial, program);
  return program;
}
