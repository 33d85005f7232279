/**
 * containerd's `hosts.toml`: which servers to ask for a registry's images, in which order.
 *
 * `[host."https://mirror"]` tables come in the order of the file, the root of the file is the
 * registry itself (`server`), and comes last. Unlike containerd we refuse a file with errors, by
 * name: a mirror that is left out by a typing error would not be noticed.
 *
 * @module
 */
import { posix } from "node:path";
import { z } from "zod";
import { AppError, describeError } from "../errors.ts";
import { allCapabilities, defaultHost, type Capability, type HostEntry } from "./hosts.ts";

const text = z.string();
/** `referrers` came with containerd 2.2; we ask for none. */
const capability = z.enum(["pull", "resolve", "push", "referrers"]);
const hostSchema = z.object({
  capabilities: z.array(text.toLowerCase().pipe(capability)).optional(),
  ca: z.union([text, z.array(text)]).optional(),
  client: z.union([text, z.array(z.union([text, z.tuple([text, text])]))]).optional(),
  skip_verify: z.boolean().optional(),
  header: z.record(text, z.union([text, z.array(text)])).optional(),
  override_path: z.boolean().optional(),
});
const fileSchema = hostSchema.extend({
  server: text.optional(),
  host: z.record(text, hostSchema).optional(),
});

type HostTable = z.infer<typeof hostSchema>;

/**
 * @param content of the file
 * @param folder where the file lies; paths in it are relative to that
 * @param registry the host of the references the file is for
 * @throws AppError `invalid_argument`
 */
export function parseHostsFile(content: string, folder: string, registry: string): HostEntry[] {
  try {
    const file = fileSchema.parse(Bun.TOML.parse(content));
    const mirrors = Object.entries(file.host ?? {});
    const { server = "" } = file;
    const own = server === "" ? defaultHost(registry) : parseServer(server, file);
    return [
      ...mirrors.map(([name, table]) => configure(parseServer(name, table), table, folder)),
      configure(own, file, folder),
    ];
  } catch (error) {
    const path = posix.join(folder, "hosts.toml");
    const problem = error instanceof z.ZodError ? z.prettifyError(error) : describeError(error);
    throw new AppError("invalid_argument", `Cannot read "${path}": ${problem}`, {
      remedy: "correct the file; containerd's docs/hosts.md describes it",
    });
  }
}

function parseServer(server: string, { capabilities, override_path }: HostTable): HostEntry {
  const url = new URL(/^https?:\/\//.test(server) ? server : `https://${server}`);
  if (url.username !== "" || url.password !== "") throw new Error("a URL holds credentials");
  const path = posix.normalize(url.pathname).replace(/\/+$/, "");
  const isWhole = override_path === true || path.endsWith("/v2");
  return {
    ...defaultHost(url.host),
    scheme: url.protocol === "http:" ? "http" : "https",
    authority: url.host,
    path: isWhole ? path : `${path}/v2`,
    capabilities: readCapabilities(capabilities),
    skipVerify: undefined,
  };
}

/** What a table says of the connection; without a server it is about the registry itself. */
function configure(entry: HostEntry, table: HostTable, folder: string): HostEntry {
  const absolute = (path: string) => posix.resolve(folder, path);
  const { ca = [], client = [] } = table;
  const pairs = typeof client === "string" ? [client] : client;
  return {
    ...entry,
    caFiles: (typeof ca === "string" ? [ca] : ca).map(absolute),
    // One file may hold both.
    clientFiles: pairs.map((pair) =>
      typeof pair === "string"
        ? [absolute(pair), absolute(pair)]
        : [absolute(pair[0]), absolute(pair[1])],
    ),
    skipVerify: table.skip_verify ?? entry.skipVerify,
    headers: readHeaders(table.header ?? {}),
  };
}

function readCapabilities(names: HostTable["capabilities"] = []): ReadonlySet<Capability> {
  if (names.length === 0) return allCapabilities;
  return new Set([...allCapabilities].filter((name) => names.includes(name)));
}

function readHeaders(header: NonNullable<HostTable["header"]>): [string, string][] {
  return Object.entries(header).flatMap(([name, values]) =>
    (typeof values === "string" ? [values] : values).map((value): [string, string] => {
      // Throws for what no header may hold: a line break would begin another one.
      new Headers().append(name, value);
      return [name, value];
    }),
  );
}
