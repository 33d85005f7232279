/**
 * stargz-snapshotter, to be compared with: made from the sources that Debian packages as a library,
 * with the Go compiler of the same suite.
 *
 * @module
 */
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { debianMirror, ensurePackages } from "./apt.ts";
import { ensureCached } from "./cached.ts";
import { runCommand } from "./process.ts";
import { cacheFolder } from "./temp.ts";

const suite = "forky";
const packages = ["golang-go", "golang-github-containerd-stargz-snapshotter-dev"] as const;
const source = join(import.meta.dir, "..", "bench", "lazy", "stargzd.go");
/** In the tree. The compiler finds its library by /proc, which is not there. */
const compile = `export GOROOT="$(ls -d /usr/lib/go-*)"
cd /build/src/stargzd && "$GOROOT/bin/go" build -o /build/stargzd .`;
const environment = {
  GO111MODULE: "off",
  GOPATH: "/build:/usr/share/gocode",
  GOCACHE: "/build/cache",
  GOFLAGS: "",
  CGO_ENABLED: "0",
  // That of the caller is not in the tree.
  TMPDIR: "/tmp",
};

/** Packages only unpacked: nothing of them is to be run but the compiler, which needs no setup. */
async function unpackTree(tree: string): Promise<void> {
  await runCommand([
    "debootstrap",
    "--download-only",
    "--variant=minbase",
    "--no-check-gpg",
    `--include=${packages.join(",")}`,
    suite,
    tree,
    await debianMirror(),
    "/usr/share/debootstrap/scripts/sid",
  ]);
  const archives = join(tree, "var/cache/apt/archives");
  for (const name of await readdir(archives)) {
    if (name.endsWith(".deb")) await runCommand(["dpkg-deb", "-x", join(archives, name), tree]);
  }
}

async function buildDaemon(folder: string): Promise<void> {
  const tree = join(folder, "tree");
  await unpackTree(tree);
  const build = join(tree, "build/src/stargzd");
  await mkdir(build, { recursive: true });
  await copyFile(source, join(build, "main.go"));
  // The compiler writes to it.
  await runCommand(["mknod", "--mode=666", join(tree, "dev/null"), "c", "1", "3"]);
  await runCommand(["chroot", tree, "sh", "-c", compile], { env: environment });
  await copyFile(join(tree, "build/stargzd"), join(folder, "stargzd"));
  await rm(tree, { recursive: true });
}

/** The daemon's program; built at the first call, which takes five minutes. */
export async function ensureStargz(): Promise<string> {
  await ensurePackages(["debootstrap"]);
  const hash = new Bun.CryptoHasher("sha256").update(await Bun.file(source).bytes());
  const folder = join(cacheFolder(), `stargz-${hash.digest("hex").slice(0, 16)}`);
  await ensureCached(folder, "stargz-snapshotter", buildDaemon);
  return join(folder, "stargzd");
}
