/**
 * Who we are to a registry: docker's `config.json` and its credential helpers.
 *
 * Read anew each time, because logins change; that is once per token. An entry of a helper wins
 * over one in the file, as in docker.
 *
 * @module
 */
import { join } from "node:path";
import { z } from "zod";
import { AppError, describeError } from "../errors.ts";
import { hubAuthority, hubHost } from "./hosts.ts";
import { readConfigFile } from "./hosts-folder.ts";

export type Credentials =
  | { readonly kind: "password"; readonly username: string; readonly password: string }
  /** Exchanged for access tokens (OAuth 2 refresh token). */
  | { readonly kind: "identity"; readonly token: string }
  /** Used as it is. */
  | { readonly kind: "bearer"; readonly token: string };

/** Asks `docker-credential-<name>`; undefined where it knows nothing of the server. */
export type RunHelper = (name: string, server: string) => Promise<Credentials | undefined>;

const entrySchema = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
});
const configSchema = z.object({
  auths: z.record(z.string(), entrySchema).optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
  credsStore: z.string().optional(),
});

type Entry = z.infer<typeof entrySchema>;

/** The name under which docker keeps the login to Docker Hub. */
const hubServer = "https://index.docker.io/v1/";

/** `$DOCKER_CONFIG/config.json`, else the one of root, else of the user. */
export function defaultDockerConfig(environment: NodeJS.ProcessEnv): string {
  const folder = environment["DOCKER_CONFIG"];
  return join(folder || join(environment["HOME"] || "/root", ".docker"), "config.json");
}

export class DockerConfig {
  readonly #file: string;
  readonly #runHelper: RunHelper;

  constructor(file: string, runHelper: RunHelper) {
    this.#file = file;
    this.#runHelper = runHelper;
  }

  /**
   * The credentials for a server; undefined means anonymous.
   *
   * Rejects with `invalid_argument` for a file that cannot be read, and as the helper does.
   *
   * @param authority the server's `host[:port]`
   */
  async find(authority: string): Promise<Credentials | undefined> {
    const content = await readConfigFile(this.#file);
    if (content === undefined || content.trim() === "") return undefined;
    const { auths = {}, credHelpers = {}, credsStore } = this.#parse(content);
    const isHub = authority === hubAuthority || authority === hubHost;
    const names: readonly string[] = isHub
      ? [hubServer, "docker.io", "index.docker.io", hubAuthority]
      : [authority];
    const helped = names.find((name) => Object.hasOwn(credHelpers, name));
    const helper = helped === undefined ? credsStore : credHelpers[helped];
    if (helper !== undefined && helper !== "") {
      const server = helped ?? (isHub ? hubServer : authority);
      const found = await this.#runHelper(helper, server);
      if (found !== undefined) return found;
    }
    return this.#readEntry(findEntry(auths, names));
  }

  #parse(content: string): z.infer<typeof configSchema> {
    try {
      return configSchema.parse(JSON.parse(content));
    } catch (error) {
      const problem = error instanceof z.ZodError ? z.prettifyError(error) : describeError(error);
      throw new AppError("invalid_argument", `Cannot read "${this.#file}": ${problem}`, {
        remedy: "correct the file, or log in again (docker login)",
      });
    }
  }

  #readEntry(entry: Entry | undefined): Credentials | undefined {
    if (entry === undefined) return undefined;
    const { registrytoken, identitytoken, auth } = entry;
    if (registrytoken) return { kind: "bearer", token: registrytoken };
    if (identitytoken) return { kind: "identity", token: identitytoken };
    if (!auth) return password(entry.username, entry.password);
    const decoded = Buffer.from(auth, "base64").toString("utf8");
    const colon = decoded.indexOf(":");
    if (colon > 0) return password(decoded.slice(0, colon), decoded.slice(colon + 1));
    throw new AppError(
      "invalid_argument",
      `"${this.#file}" has an "auth" that is no name:password`,
    );
  }
}

function password(username?: string, secret?: string): Credentials | undefined {
  if (!username || !secret) return undefined;
  return { kind: "password", username, password: secret.replace(/\0+$/, "") };
}

function hostOf(key: string): string {
  return key.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
}

/** Keys may be whole URLs of old: what counts is their host. */
function findEntry(
  auths: Readonly<Record<string, Entry>>,
  names: readonly string[],
): Entry | undefined {
  const exact = names.find((name) => Object.hasOwn(auths, name));
  if (exact !== undefined) return auths[exact];
  return Object.entries(auths).find(([key]) => names.includes(hostOf(key)))?.[1];
}
