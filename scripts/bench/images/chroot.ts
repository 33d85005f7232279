/**
 * Builds the files of a layer with Debian's own tools: debootstrap for the first one of a chain,
 * apt in a chroot on an overlay for the others.
 *
 * Everything runs in mount and PID namespaces of its own, so that no mount and no process can
 * outlive it, however it ends.
 *
 * @module
 */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { debianMirror, securityMirror } from "../../lib/apt.ts";
import { runCommand } from "../../lib/process.ts";
import { cacheFolder } from "../../lib/temp.ts";

/** Where the parts of a layer that is being built are. */
export interface LayerFolders {
  readonly upper: string;
  /** Becomes the mount point of the overlay. */
  readonly root: string;
  readonly work: string;
  /** Downloaded packages of this build alone: apt locks the folder. */
  readonly debs: string;
}

/** The suite of a chain of layers, with its downloads. */
export interface Chain {
  readonly suite: string;
  /** Upper directories, the topmost first; empty for a first layer. */
  readonly lowers: readonly string[];
  /** Package lists, which the first layer fetches for all of the chain. */
  readonly lists: string;
}

export function layerFolders(folder: string): LayerFolders {
  const parts = ["upper", "root", "work", "debs"].map((name) => join(folder, name));
  const [upper = "", root = "", work = "", debs = ""] = parts;
  return { upper, root, work, debs };
}

const namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"];
const unshare = [...namespaces, "--propagation", "private"];

/** What apt and dpkg of the image are told: no syncing, no questions, no services. */
const settings: Readonly<Record<string, string>> = {
  "etc/apt/apt.conf.d/99image": [
    'APT::Install-Recommends "false";',
    'APT::Sandbox::User "root";',
    'Acquire::Languages "none";',
    // The clock of a machine with a frozen mirror is ahead of all Release files.
    'Acquire::Check-Valid-Until "false";',
    'Dir::Cache::pkgcache "";',
    'Dir::Cache::srcpkgcache "";',
    "",
  ].join("\n"),
  "etc/dpkg/dpkg.cfg.d/99image": "force-unsafe-io\n",
  "etc/resolv.conf": "",
  "etc/hostname": "localhost\n",
  "etc/machine-id": "",
};

/** What no image keeps. */
const tidy = `rm -rf /var/log/apt /var/log/*.log /var/cache/ldconfig/aux-cache \
  /var/cache/debconf/*-old /var/lib/dpkg/*-old /tmp/* /var/tmp/*`;

const enter = `
if [ -n "$LOWER" ]; then
  options="lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK,volatile"
  mount -t overlay overlay -o "$options,redirect_dir=off,metacopy=off,index=off" "$ROOT"
else
  mount --bind "$UPPER" "$ROOT"
fi
mount -t proc proc "$ROOT/proc"
mount -t tmpfs tmpfs "$ROOT/dev"
for name in full null random tty urandom zero; do cp --archive "/dev/$name" "$ROOT/dev"; done
mkdir "$ROOT/dev/pts" "$ROOT/dev/shm"
ln -s /proc/self/fd "$ROOT/dev/fd"
mount --bind /etc/resolv.conf "$ROOT/etc/resolv.conf"
mount --bind "$LISTS" "$ROOT/var/lib/apt/lists"
mount --bind "$DEBS" "$ROOT/var/cache/apt/archives"
exec chroot "$ROOT" env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \\
  LC_ALL=C DEBIAN_FRONTEND=noninteractive \${http_proxy:+"http_proxy=$http_proxy"} \\
  sh -euc "$COMMANDS"
`;

/** Runs shell commands as root of the image, the folders of downloads in place. */
export async function runInImage(
  chain: Chain,
  folders: LayerFolders,
  commands: string,
): Promise<void> {
  await Promise.all(Object.values(folders).map((path) => mkdir(path, { recursive: true })));
  // It becomes the root of the image, which everybody may enter.
  await chmod(folders.upper, 0o755);
  const cache = cacheFolder("family", "debs", chain.suite);
  // The same file system, so packages cost nothing to be there twice.
  const share = 'find "$1" -name "*.deb" -exec cp --link --no-clobber --target-directory="$2" {} +';
  await runCommand(["sh", "-c", share, "sh", cache, folders.debs]);
  await runCommand([...unshare, "sh", "-euc", enter], {
    env: {
      LOWER: chain.lowers.join(":"),
      UPPER: folders.upper,
      WORK: folders.work,
      ROOT: folders.root,
      LISTS: chain.lists,
      DEBS: folders.debs,
      COMMANDS: `${commands}\n${tidy}`,
    },
  });
  await runCommand(["sh", "-c", share, "sh", folders.debs, cache]);
}

/** A Debian of its own: the first layer of a chain; `security`: with all updates there are. */
export async function bootstrap(
  chain: Chain,
  folders: LayerFolders,
  security: boolean,
): Promise<void> {
  const { suite, lists } = chain;
  await mkdir(folders.upper, { recursive: true });
  await mkdir(lists, { recursive: true });
  const cache = `--cache-dir=${cacheFolder("family", "debs", `${suite}-${security}`)}`;
  const mirror = await debianMirror();
  const command = ["debootstrap", "--variant=minbase", cache, suite, folders.upper, mirror];
  await runCommand([...unshare, ...command]);
  const sources = [`deb ${mirror} ${suite} main\n`];
  if (security) sources.push(`deb ${await securityMirror()} ${suite}-security main\n`);
  const files = { ...settings, "etc/apt/sources.list": sources.join("") };
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(folders.upper, name), text);
  }
  const policy = join(folders.upper, "usr/sbin/policy-rc.d");
  await writeFile(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  const clean = 'cd "$1" && rm -rf dev/* var/lib/apt/lists/* var/cache/apt/archives/*';
  await runCommand(["sh", "-euc", clean, "sh", folders.upper]);
  const upgrade = security ? "apt-get -q -y upgrade" : "";
  await runInImage(chain, folders, `apt-get -q update\n${upgrade}`);
}
