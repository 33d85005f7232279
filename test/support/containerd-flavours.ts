/**
 * The two containerd versions we test against: Debian 12's on the machine itself, and 2.1 of Debian
 * forky in a mount namespace.
 *
 * @module
 */
import { ensurePackages } from "../../scripts/lib/apt.ts";
import { ensureForky } from "../../scripts/lib/forky.ts";
import { runCommand } from "../../scripts/lib/process.ts";
import type { Differ } from "./image/model.ts";
import { goArchitecture } from "./image/oci.ts";

export interface ContainerdPaths {
  /** Holds all of the paths below and the folders of the daemon and the registry. */
  readonly shared: string;
  readonly root: string;
  readonly state: string;
  readonly socket: string;
  readonly configFile: string;
  /** The socket of our daemon. */
  readonly snapshotter: string;
}

export interface Flavour {
  readonly name: string;
  /** Who unpacks layers for the snapshotter. */
  readonly differ: Differ;
  /** Whether containerd asks us to apply layers and we hand them back to it. */
  readonly isDelegated: boolean;
  /** Whether mkfs.erofs writes the images; false: the daemon does. */
  readonly usesMkfs: boolean;
  /** Installs what is missing and prepares the folder that is shared with the daemon. */
  prepare(paths: ContainerdPaths): Promise<void>;
  config(paths: ContainerdPaths): string;
  /** The command that becomes containerd: same process, no child. */
  command(paths: ContainerdPaths): readonly string[];
  /** What to put before `ctr`. */
  enter(containerdPid: number): readonly string[];
  release(paths: ContainerdPaths): Promise<void>;
}

function commonConfig(
  paths: ContainerdPaths,
  version: number,
  disabled: readonly string[],
): string {
  return `version = ${version}
root = "${paths.root}"
state = "${paths.state}"
disabled_plugins = ${JSON.stringify(disabled)}
oom_score = 0
[grpc]
  address = "${paths.socket}"
[ttrpc]
  address = "${paths.socket}.ttrpc"
[proxy_plugins.dedup]
  type = "snapshot"
  address = "${paths.snapshotter}"
`;
}

/** Debian 12's own packages. */
export const containerd16: Flavour = {
  name: "containerd 1.6",
  differ: "containerd",
  isDelegated: false,
  usesMkfs: false,
  prepare: () => ensurePackages(["containerd", "runc"]),
  config: (paths) =>
    commonConfig(paths, 2, [
      "io.containerd.grpc.v1.cri",
      "io.containerd.snapshotter.v1.btrfs",
      "io.containerd.snapshotter.v1.zfs",
      "io.containerd.snapshotter.v1.devmapper",
      "io.containerd.snapshotter.v1.aufs",
      "io.containerd.internal.v1.opt",
    ]),
  command: (paths) => ["containerd", "--config", paths.configFile],
  enter: () => [],
  release: () => Promise.resolve(),
};

/** The same with the part that a kubelet talks to, which tells of which image a layer is. */
export const containerd16Cri: Flavour = {
  ...containerd16,
  name: "containerd 1.6 with CRI",
  config: (paths) => `${commonConfig(paths, 2, [])}[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "dedup"
  disable_snapshot_annotations = false
`,
};

/**
 * Arguments: the forky tree, the shared folder, the configuration.
 *
 * The tree becomes the root of a mount namespace. (A mere chroot is not enough: `runc exec` enters
 * the namespace of a container, and with it the root of that, which would be the machine's.) The
 * namespace is a slave of the machine's: layers that the daemon mounts in the shared folder appear
 * here, nothing made here appears there, and all of it goes with the last process.
 */
const enterScript = `set -e
mount --bind "$1" "$1"
for name in tmp var/tmp run; do mount -t tmpfs tmpfs "$1/$name"; done
mkdir -p "$1$2"
mount --rbind "$2" "$1$2"
for name in proc sys dev; do mount --rbind "/$name" "$1/$name"; done
cd "$1"
pivot_root . mnt
exec chroot . sh -c 'umount --lazy /mnt && exec containerd --config "$1"' sh "$3"`;

let forkyTree = "";

/** How a snapshotter's layers are unpacked by the transfer service. */
interface Unpacking {
  readonly snapshotter: string;
  readonly differ?: string;
}

function forkyConfig(paths: ContainerdPaths, unpackings: readonly Unpacking[]): string {
  const disabled = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.internal.v1.opt",
    "io.containerd.nri.v1.nri",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.devmapper",
  ];
  // The transfer service, which pulls, knows only the snapshotters listed for it.
  const unpack = unpackings.map(
    ({ snapshotter, differ }) => `  [[plugins."io.containerd.transfer.v1.local".unpack_config]]
    platform = "linux/${goArchitecture()}"
    snapshotter = "${snapshotter}"
${differ === undefined ? "" : `    differ = "${differ}"\n`}`,
  );
  const transfer = `[plugins."io.containerd.transfer.v1.local"]\n${unpack.join("")}`;
  // Part of the last table of the common configuration; 2.1 knows no use of it yet.
  const rebase = '  capabilities = ["rebase"]\n';
  return `${commonConfig(paths, 3, disabled)}${rebase}${transfer}`;
}

/** Debian forky's package in a tree and a mount namespace of its own. */
export const containerd21: Flavour = {
  name: "containerd 2.1",
  differ: "containerd",
  isDelegated: false,
  usesMkfs: false,
  async prepare(paths) {
    forkyTree = await ensureForky();
    await runCommand(["mount", "--bind", paths.shared, paths.shared]);
    await runCommand(["mount", "--make-shared", paths.shared]);
  },
  config: (paths) => forkyConfig(paths, [{ snapshotter: "dedup" }, { snapshotter: "overlayfs" }]),
  command(paths) {
    const shell = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", enterScript, "sh"];
    return shell.concat(forkyTree, paths.shared, paths.configFile);
  },
  enter: (pid) => ["nsenter", "--target", String(pid), "--mount", "--root", "--wd"],
  release: async (paths) => {
    await runCommand(["umount", "--lazy", paths.shared]);
  },
};

/** The same with our Diff service, as the README configures it. */
export const containerd21WithDiff: Flavour = {
  ...containerd21,
  name: "containerd 2.1 with the Diff service",
  differ: "ours",
  config: (paths) => `${forkyConfig(paths, [
    { snapshotter: "dedup", differ: "dedup-diff" },
    { snapshotter: "overlayfs", differ: "walking" },
  ])}[proxy_plugins.dedup-diff]
  type = "diff"
  address = "${paths.snapshotter}"
[plugins."io.containerd.service.v1.diff-service"]
  default = ["walking"]
`,
};

/** The same, telling the daemon of which image a layer is, so that it can claim lazy ones. */
export const containerd21Lazy: Flavour = {
  ...containerd21WithDiff,
  name: "containerd 2.1 with the Diff service and lazy layers",
  config: (paths) => `${containerd21WithDiff.config(paths)}[proxy_plugins.dedup.exports]
  root = "${paths.shared}/d/root"
  enable_remote_snapshot_annotations = "true"
`,
};

/** The same with a daemon whose `diff.enabled` is false. */
export const containerd21Delegated: Flavour = {
  ...containerd21WithDiff,
  name: "containerd 2.1 with the Diff service switched off",
  differ: "containerd",
  isDelegated: true,
};

/** The same with a daemon whose `erofs.builder` is mkfs. */
export const containerd21Mkfs: Flavour = {
  ...containerd21WithDiff,
  name: "containerd 2.1 with the Diff service and mkfs.erofs",
  usesMkfs: true,
};
