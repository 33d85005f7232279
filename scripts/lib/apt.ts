/**
 * Debian packages of the machine: installs only what is missing.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { runCommand, tryCommand } from "./process.ts";
import { say } from "./project.ts";

/** Seconds to wait for another apt or dpkg, such as the nightly upgrade, to end. */
const lockTimeoutSeconds = 300;

const aptOptions = [
  "-q",
  "-y",
  "-o",
  `DPkg::Lock::Timeout=${lockTimeoutSeconds}`,
  // A machine whose clock is ahead of a frozen mirror finds every Release file expired.
  "-o",
  "Acquire::Check-Valid-Until=false",
];

async function isPackageInstalled(name: string): Promise<boolean> {
  const status = await tryCommand(["dpkg-query", "-W", "-f", "${db:Status-Status}", name]);
  return status.exitCode === 0 && status.stdout === "installed";
}

async function missingPackages(names: readonly string[]): Promise<string[]> {
  const installed = await Promise.all(names.map(isPackageInstalled));
  return names.filter((_, index) => installed[index] !== true);
}

/**
 * A package that comes with a service must not start it: the tests start their own containerd, and
 * nobody asked for a registry on port 5000.
 */
async function withoutServices<T>(task: () => Promise<T>): Promise<T> {
  const policy = "/usr/sbin/policy-rc.d";
  if (existsSync(policy)) return task();
  await Bun.write(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    return await task();
  } finally {
    await Bun.file(policy).delete();
  }
}

/** Makes sure that the Debian packages are installed; says what it installs. */
export async function ensurePackages(names: readonly string[]): Promise<void> {
  const missing = await missingPackages(names);
  if (missing.length === 0) return;
  say(`Installing Debian packages: ${missing.join(" ")} …`);
  const env = { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" };
  try {
    await runCommand(["apt-get", ...aptOptions, "update"], { env });
    const install = ["apt-get", ...aptOptions, "install", "--no-install-recommends", ...missing];
    await withoutServices(() => runCommand(install, { env }));
  } catch (cause) {
    throw new Error(`Cannot install Debian packages: ${missing.join(" ")}`, { cause });
  }
}

/** The first `deb` source of the machine: where debootstrap gets other suites from. */
export async function debianMirror(folder = "/etc/apt"): Promise<string> {
  return (await firstSource(folder, mirrorOf)) ?? "http://deb.debian.org/debian";
}

/** The same of security updates. */
export async function securityMirror(folder = "/etc/apt"): Promise<string> {
  const found = await firstSource(folder, securityMirrorOf);
  return found ?? "http://deb.debian.org/debian-security";
}

type MirrorReader = (sources: string) => string | undefined;

async function firstSource(folder: string, read: MirrorReader): Promise<string | undefined> {
  const parts = join(folder, "sources.list.d");
  const names = existsSync(parts) ? await readdir(parts) : [];
  const files = [
    join(parts, "debian.sources"),
    join(folder, "sources.list"),
    ...names.sort().map((name) => join(parts, name)),
  ];
  for (const file of files) {
    if (!existsSync(file)) continue;
    const mirror = read(await readFile(file, "utf8"));
    if (mirror !== undefined) return mirror;
  }
  return undefined;
}

/** The first Debian archive of a sources file, of either format. */
export function mirrorOf(sources: string): string | undefined {
  return archiveOf(sources, "debian");
}

/** The same of security updates. */
export function securityMirrorOf(sources: string): string | undefined {
  return archiveOf(sources, "debian-security");
}

function archiveOf(sources: string, name: string): string | undefined {
  const start = String.raw`^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+`;
  const source = String.raw`${start}(https?:\/\/\S*\/${name}\/?)(?:\s|$)`;
  return new RegExp(source, "m").exec(sources)?.[1]?.replace(/\/$/, "");
}
