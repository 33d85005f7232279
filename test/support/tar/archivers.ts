/**
 * Tar archives as the common programs write them, in each of their formats.
 *
 * @module
 */
import { join } from "node:path";
import { ensurePackages } from "../../../scripts/lib/apt.ts";
import { runCommand, tryCommand } from "../../../scripts/lib/process.ts";
import { buildGoProgram } from "../go-program.ts";

const writeFixture = join(import.meta.dir, "write-fixture.go");

/** What a format cannot say is left out, and the program says so with its exit code. */
async function archive(command: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await tryCommand(command, { env: { LC_ALL: "C.UTF-8" } });
  if (exitCode > 2) throw new Error(`${command.join(" ")} exited with ${exitCode}: ${stderr}`);
}

const pythonScript = `
import sys, tarfile
formats = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
import os
with tarfile.open(sys.argv[3], "w", format=formats[sys.argv[1]]) as tar:
    for folder, folders, files in os.walk(sys.argv[2]):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(folder, name)
            info = tar.gettarinfo(path, os.path.relpath(path, sys.argv[2]))
            info.uname = info.gname = ""
            try:
                info.tobuf(tar.format, tar.encoding, tar.errors)
            except ValueError:
                continue
            if info.isreg():
                with open(path, "rb") as content:
                    tar.addfile(info, content)
            else:
                tar.addfile(info)
`;

const gnuTar = ["tar", "--create", "--sort=name", "--numeric-owner"] as const;
const gnuPax = [...gnuTar, "--format=posix", "--xattrs", "--xattrs-include=*"] as const;
const bsdTar = ["bsdtar", "--create", "--numeric-owner"] as const;

function ofGnu(...options: readonly string[]): Archiver["write"] {
  return (folder, file) => archive([...options, "--file", file, "--directory", folder, "."]);
}

function ofPython(format: string): Archiver["write"] {
  return (folder, file) => archive(["/usr/bin/python3", "-c", pythonScript, format, folder, file]);
}

function ofGo(format: string): Archiver["write"] {
  return async (folder, file) => {
    await runCommand([await buildGoProgram(writeFixture), format, folder, file]);
  };
}

export interface Archiver {
  readonly name: string;
  /** Whether containerd reads what it writes: old GNU sparse files it does not. */
  readonly isUnderstood?: false;
  write(folder: string, file: string): Promise<void>;
}

const sparse = "--sparse";

export const archivers: readonly Archiver[] = [
  { name: "GNU tar, v7", write: ofGnu(...gnuTar, "--format=v7") },
  { name: "GNU tar, oldgnu", write: ofGnu(...gnuTar, "--format=oldgnu") },
  { name: "GNU tar, gnu", write: ofGnu(...gnuTar, "--format=gnu") },
  { name: "GNU tar, ustar", write: ofGnu(...gnuTar, "--format=ustar") },
  { name: "GNU tar, posix", write: ofGnu(...gnuPax) },
  {
    name: "GNU tar, gnu, sparse",
    isUnderstood: false,
    write: ofGnu(...gnuTar, "--format=gnu", sparse),
  },
  ...["0.0", "0.1", "1.0"].map((version) => ({
    name: `GNU tar, posix, sparse ${version}`,
    write: ofGnu(...gnuPax, sparse, `--sparse-version=${version}`),
  })),
  ...["v7", "ustar", "pax", "gnutar"].map((format) => ({
    name: `bsdtar, ${format}`,
    write: ofGnu(...bsdTar, "--format", format),
  })),
  ...["ustar", "gnu", "pax"].map((format) => ({
    name: `Python's tarfile, ${format}`,
    write: ofPython(format),
  })),
  ...["ustar", "gnu", "pax"].map((format) => ({
    name: `Go's archive/tar, ${format}`,
    write: ofGo(format),
  })),
];

/** Installs what is missing. */
export async function prepareArchivers(): Promise<void> {
  await ensurePackages(["tar", "libarchive-tools", "python3"]);
  await buildGoProgram(writeFixture);
}
