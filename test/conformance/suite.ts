/**
 * Builds and runs containerd's snapshotter suite (`suite_test.go`) with Debian's own Go packages.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { copyFile, mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { ensurePackages } from "../../scripts/lib/apt.ts";
import { runCommand, tryCommand } from "../../scripts/lib/process.ts";
import { binaryFile, say, seconds } from "../../scripts/lib/project.ts";
import { cacheFolder, scratchBase } from "../../scripts/lib/temp.ts";

const sourceFile = join(import.meta.dir, "suite_test.go");
const packages = ["golang-go", "golang-github-containerd-containerd-dev"] as const;

/** The name of the compiled suite: new for another source or another Go. */
async function suiteFile(cache: string): Promise<string> {
  const versions = await runCommand(["dpkg-query", "-W", ...packages]);
  const hash = new Bun.CryptoHasher("sha256");
  hash.update(await Bun.file(sourceFile).bytes()).update(versions);
  return join(cache, `suite-${hash.digest("hex").slice(0, 16)}.test`);
}

/** Compiles the suite, unless the cache has it; resolves with the path of the executable. */
export async function buildSuite(): Promise<string> {
  await ensurePackages(packages);
  const cache = cacheFolder("conformance");
  const suite = await suiteFile(cache);
  if (existsSync(suite)) return suite;
  const startMs = performance.now();
  const source = join(cache, "gopath", "src", "conformance");
  await mkdir(source, { recursive: true });
  await copyFile(sourceFile, join(source, "suite_test.go"));
  const env = {
    GO111MODULE: "off",
    GOPATH: `${join(cache, "gopath")}:/usr/share/gocode`,
    GOCACHE: join(cache, "gocache"),
    GOFLAGS: "",
    // Debian's golang-go only recommends a C compiler.
    CGO_ENABLED: "0",
  };
  await runCommand(["/usr/bin/go", "test", "-c", "-o", `${suite}.partial`, "."], {
    cwd: source,
    env,
  });
  await rename(`${suite}.partial`, suite);
  say(`Compiled containerd's snapshotter suite in ${seconds(performance.now() - startMs)}`);
  return suite;
}

/** Runs the suite with one mount method; resolves with the output of `go test -v`. */
export async function runSuite(method: "file" | "loop"): Promise<string> {
  const suite = await buildSuite();
  const result = await tryCommand(
    [suite, "-test.v", "-test.timeout=5m", `-binary=${binaryFile}`, `-method=${method}`],
    { cwd: "/", env: { TMPDIR: scratchBase() } },
  );
  return result.stdout + result.stderr;
}
