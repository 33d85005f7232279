/** Mounts what the snapshotter answers, as containerd's shim does. */
import { mkdtempSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { mountBind, mountOverlay, unmount } from "../../ffi/mount.ts";
import type { Mount } from "../../src/rpc/gen/containerd/types/mount.ts";
import { scratchBase } from "../../scripts/lib/temp.ts";

export interface MountedFolder extends Disposable {
  readonly path: string;
}

export function mounted(mounts: readonly Mount[]): MountedFolder {
  const [mount] = mounts;
  if (mounts.length !== 1 || mount === undefined) throw new Error("expected one mount");
  const path = mkdtempSync(join(scratchBase(), "mounted-"));
  if (mount.type === "bind") mountBind(mount.source, path);
  else mountOverlay({ ...overlayOptions(mount.options), target: path });
  return {
    path,
    [Symbol.dispose]: () => {
      unmount(path);
      rmdirSync(path);
    },
  };
}

/** The folder into which an active snapshot's own files go. */
export function ownFolderOf(mounts: readonly Mount[]): string {
  const [mount] = mounts;
  const upper = mount?.options.find((option) => option.startsWith("upperdir="));
  return upper?.slice("upperdir=".length) ?? mount?.source ?? "";
}

function overlayOptions(options: readonly string[]) {
  const value = (key: string): string | undefined =>
    options.find((option) => option.startsWith(`${key}=`))?.slice(key.length + 1);
  const [upper, work] = [value("upperdir"), value("workdir")];
  const lower = (value("lowerdir") ?? "").split(":");
  return upper === undefined || work === undefined ? { lower } : { lower, upper, work };
}
