/**
 * A small root file system that can run: busybox, statically linked.
 *
 * @module
 */
import { join } from "node:path";
import { ensureForky } from "../../../scripts/lib/forky.ts";
import { directory, file, type Layer, symlink } from "./layer.ts";

const applets = [
  "cat",
  "chmod",
  "dd",
  "echo",
  "env",
  "false",
  "ln",
  "ls",
  "md5sum",
  "mkdir",
  "mv",
  "rm",
  "rmdir",
  "sh",
  "sha256sum",
  "sleep",
  "stat",
  "sync",
  "touch",
  "true",
] as const;

/** A layer with a shell and its tools; the executable is that of the cached forky tree. */
export async function busyboxLayer(): Promise<Layer> {
  const executable = Bun.file(join(await ensureForky(), "usr/bin/busybox"));
  return [
    directory(""),
    directory("bin"),
    directory("dev"),
    directory("etc"),
    directory("proc"),
    directory("sys"),
    directory("tmp", { mode: 0o1777 }),
    file("bin/busybox", await executable.bytes(), { mode: 0o755 }),
    ...applets.map((name) => symlink(`bin/${name}`, "busybox")),
    file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
  ];
}
