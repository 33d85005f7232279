/**
 * The registry client: `createRegistryClient()` makes what `contract.ts` describes.
 *
 * The parts, from below:
 *
 * - `http.ts`, `connect-check.ts`, `body.ts`, `slots.ts`: one request; time, size and number.
 * - `redirects.ts`, `link-local.ts`: where a server may send us.
 * - `challenge.ts`, `token.ts`, `authorizer.ts`, `docker-config.ts`, `credential-helper.ts`: who we
 *   are. Credentials go to the server they belong to and the token service it names, to no other.
 * - `hosts-file.ts`, `hosts-folder.ts`, `hosts.ts`: which servers there are for a registry.
 * - `host-transport.ts`: a request to one server. `failover.ts`: to one after the other.
 * - `manifests.ts`, `blobs.ts`, `range.ts`, `uploads.ts`: the operations.
 *
 * @module
 */
import { Authorizer } from "./authorizer.ts";
import { Blobs } from "./blobs.ts";
import { Calls } from "./calls.ts";
import { systemClock, type Clock } from "./clock.ts";
import type { RegistryClient } from "./contract.ts";
import { connectOnce } from "./connect-check.ts";
import { credentialHelper } from "./credential-helper.ts";
import { defaultDockerConfig, DockerConfig } from "./docker-config.ts";
import { Failover } from "./failover.ts";
import { HostTransport } from "./host-transport.ts";
import { defaultHostsFolder, HostsFolder } from "./hosts-folder.ts";
import { HttpClient } from "./http.ts";
import { defaultLimits, type RegistryLimits } from "./limits.ts";
import { systemLookup, type Lookup } from "./link-local.ts";
import { Manifests } from "./manifests.ts";
import { TokenSource } from "./token.ts";
import { Uploads } from "./uploads.ts";

export interface RegistryClientOptions {
  /** Default: containerd's `/etc/containerd/certs.d`. */
  readonly hostsFolder?: string;
  /** Default: docker's `config.json`, by `DOCKER_CONFIG` and `HOME`. */
  readonly dockerConfigFile?: string;
  readonly limits?: Partial<RegistryLimits>;
  readonly clock?: Clock;
  /** How names of servers that we are sent to are looked up. */
  readonly lookup?: Lookup;
}

/** Needs no closing: what it keeps is in memory, idle connections end by themselves. */
export function createRegistryClient(options: RegistryClientOptions = {}): RegistryClient {
  const { clock = systemClock, hostsFolder = defaultHostsFolder } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const configFile = options.dockerConfigFile ?? defaultDockerConfig(process.env);
  const config = new DockerConfig(configFile, credentialHelper(limits.helperTimeoutMs));
  const credentials = (authority: string) => config.find(authority);
  const isProxied = usesProxy(process.env);
  const lookup = options.lookup ?? (isProxied ? undefined : systemLookup);
  const http = new HttpClient({ clock, limits, connect: isProxied ? undefined : connectOnce });
  const tokens = new TokenSource(http, clock, credentials);
  const authorizer = new Authorizer({ tokens, credentials, lookup });
  const calls = new Calls({
    hosts: new HostsFolder(hostsFolder, clock),
    failover: new Failover({ clock, limits }),
    transport: new HostTransport({ http, authorizer, lookup }),
  });
  const [manifests, blobs, uploads] = [new Manifests(calls), new Blobs(calls), new Uploads(calls)];
  return {
    resolve: (reference, call = {}) => manifests.resolve(reference, call),
    manifest: (reference, target, call = {}) => manifests.bytes(reference, target, call),
    blob: (reference, blob, call = {}) => blobs.pieces(reference, blob, call),
    blobRange: (reference, digest, offsetBytes, lengthBytes, call = {}) =>
      blobs.range(reference, digest, { offsetBytes, lengthBytes }, call),
    blobParts: (reference, digest, offsetBytes, lengthBytes, use, call = {}) =>
      blobs.parts(reference, digest, { offsetBytes, lengthBytes }, use, call),
    hasBlob: (reference, digest, call = {}) => blobs.has(reference, digest, call),
    uploadBlob: (reference, blob, content, call = {}) =>
      uploads.upload(reference, blob, content, call),
    putManifest: (reference, bytes, mediaType, call = {}) =>
      manifests.put(reference, bytes, mediaType, call),
  };
}

/** Names are then looked up by the proxy, and may mean nothing here. */
function usesProxy(environment: NodeJS.ProcessEnv): boolean {
  const names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
  return names.some((name) => Boolean(environment[name] ?? environment[name.toLowerCase()]));
}
