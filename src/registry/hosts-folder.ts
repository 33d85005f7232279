/**
 * containerd's folder of hosts: `/etc/containerd/certs.d/<host>/hosts.toml`.
 *
 * Read again every few seconds, so that changes need no restart.
 *
 * @module
 */
import { readdir, stat } from "node:fs/promises";
import { getCACertificates } from "node:tls";
import { join } from "node:path";
import { AppError } from "../errors.ts";
import type { Clock } from "./clock.ts";
import { parseHostsFile } from "./hosts-file.ts";
import { defaultHost, mayFallBack, type HostEntry, type RegistryHost } from "./hosts.ts";
import { configBytesMax } from "./limits.ts";

const rereadMs = 10_000;
/** Registries whose servers are remembered; names of images come from outside. */
const registriesMax = 256;

export const defaultHostsFolder = "/etc/containerd/certs.d";

export class HostsFolder {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #known = new Map<string, { readonly untilMs: number; hosts: Promise<RegistryHost[]> }>();

  constructor(folder: string, clock: Clock) {
    this.#folder = folder;
    this.#clock = clock;
  }

  /**
   * The servers for a registry, in the order in which to ask them.
   *
   * Rejects with `invalid_argument` for a file that cannot be read.
   *
   * @param registry the host of a parsed reference
   */
  hosts(registry: string): Promise<RegistryHost[]> {
    const nowMs = this.#clock.nowMs();
    const known = this.#known.get(registry);
    if (known !== undefined && known.untilMs > nowMs) return known.hosts;
    const hosts = this.#load(registry);
    this.#known.delete(registry);
    this.#known.set(registry, { untilMs: nowMs + rereadMs, hosts });
    const [oldest] = this.#known.keys();
    if (this.#known.size > registriesMax && oldest !== undefined) this.#known.delete(oldest);
    return hosts;
  }

  async #load(registry: string): Promise<RegistryHost[]> {
    const entries = await this.#entries(registry);
    return Promise.all(entries.map(openHost));
  }

  async #entries(registry: string): Promise<HostEntry[]> {
    for (const name of folderNames(registry)) {
      const folder = join(this.#folder, name);
      if (!(await isFolder(folder))) continue;
      const content = await readConfigFile(join(folder, "hosts.toml"));
      if (content !== undefined && content !== "") return parseHostsFile(content, folder, registry);
      return [await withCertificates(defaultHost(registry), folder)];
    }
    return [defaultHost(registry)];
  }
}

/** Ports are written as `host_5000_` where a colon is not wanted in a name of a file. */
function folderNames(registry: string): string[] {
  const port = /^(.+):(\d+)$/.exec(registry);
  const withoutColon = port === null ? [] : [`${port[1]}_${port[2]}_`];
  return [...withoutColon, registry, "_default"];
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

/** Docker's way, without a hosts.toml: `*.crt` are authorities, `x.cert` and `x.key` a pair. */
async function withCertificates(entry: HostEntry, folder: string): Promise<HostEntry> {
  const names = (await readdir(folder)).sort();
  const endingIn = (suffix: string) => names.filter((name) => name.endsWith(suffix));
  return {
    ...entry,
    caFiles: endingIn(".crt").map((name) => join(folder, name)),
    clientFiles: endingIn(".cert").map((name) => {
      const path = join(folder, name);
      return [path, path.replace(/\.cert$/, ".key")];
    }),
  };
}

/** The text of a file, or undefined where there is none. */
export async function readConfigFile(path: string): Promise<string | undefined> {
  const file = Bun.file(path);
  try {
    if (file.size > configBytesMax) throw new Error(`it has more than ${configBytesMax} bytes`);
    return await file.text();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new AppError("invalid_argument", `Cannot read "${path}"`, { cause });
  }
}

async function requiredFile(path: string): Promise<string> {
  const content = await readConfigFile(path);
  if (content !== undefined) return content;
  throw new AppError("invalid_argument", `"${path}", which hosts.toml names, is not there`);
}

let systemAuthorities: string | undefined;

/** What the runtime trusts, and what the machine does, as with containerd. */
function trustedAuthorities(): string {
  const stores = ["default", "system"] as const;
  systemAuthorities ??= [...new Set(stores.flatMap((name) => getCACertificates(name)))].join("\n");
  return systemAuthorities;
}

async function openHost(entry: HostEntry): Promise<RegistryHost> {
  const { scheme, authority, path, capabilities, headers, caFiles, clientFiles } = entry;
  const [ca, certificates, keys] = await Promise.all([
    Promise.all(caFiles.map(requiredFile)),
    Promise.all(clientFiles.map(([certificate]) => requiredFile(certificate))),
    Promise.all(clientFiles.map(([, key]) => requiredFile(key))),
  ]);
  return {
    scheme,
    authority,
    path,
    capabilities,
    headers,
    mayFallBack: mayFallBack(entry),
    tls: {
      ca: [trustedAuthorities(), ...ca].join("\n"),
      certificates,
      keys,
      skipVerify: entry.skipVerify === true,
    },
  };
}
