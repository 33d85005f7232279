/**
 * The servers that may be asked for the images of a registry, and how to reach them.
 *
 * @module
 */
import type { TlsSettings } from "./http.ts";

export type Capability = "pull" | "resolve" | "push";

export const allCapabilities: ReadonlySet<Capability> = new Set(["pull", "resolve", "push"]);

/** A server as it is configured; certificates are files still. */
export interface HostEntry {
  readonly scheme: "http" | "https";
  /** `host[:port]`. */
  readonly authority: string;
  /** `/v2`, without a slash at the end. */
  readonly path: string;
  readonly capabilities: ReadonlySet<Capability>;
  readonly caFiles: readonly string[];
  /** Pairs of certificate and key. */
  readonly clientFiles: readonly (readonly [string, string])[];
  /** Undefined where it is not said, which is not the same as false for plain HTTP. */
  readonly skipVerify: boolean | undefined;
  readonly headers: readonly (readonly [string, string])[];
}

/** A server, ready to be asked. */
export interface RegistryHost {
  readonly authority: string;
  readonly path: string;
  readonly scheme: "http" | "https";
  /** Plain HTTP is configured, but with settings for TLS: that is tried first, as in containerd. */
  readonly mayFallBack: boolean;
  readonly capabilities: ReadonlySet<Capability>;
  readonly headers: readonly (readonly [string, string])[];
  readonly tls: TlsSettings;
}

/** Where Docker Hub's registry really is. */
export const hubHost = "docker.io";
export const hubAuthority = "registry-1.docker.io";

/** `localhost`, 127.0.0.0/8 and ::1, with or without a port. */
export function isLoopback(authority: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(authority);
}

function portOf(authority: string): string {
  return /:(\d+)$/.exec(authority)?.[1] ?? "";
}

/**
 * The registry that a host in a reference stands for, where nothing else is configured. On the
 * loopback interface it may speak either protocol, with any certificate (containerd,
 * core/remotes/docker/config/hosts.go).
 */
export function defaultHost(host: string): HostEntry {
  const port = portOf(host);
  const isPlain = isLoopback(host) && port !== "" && port !== "443";
  return {
    scheme: isPlain ? "http" : "https",
    authority: host === hubHost ? hubAuthority : host,
    path: "/v2",
    capabilities: allCapabilities,
    caFiles: [],
    clientFiles: [],
    skipVerify: isLoopback(host) && port !== "80" ? true : undefined,
    headers: [],
  };
}

/** Whether TLS is tried before the plain HTTP that is configured. */
export function mayFallBack(entry: HostEntry): boolean {
  const hasTls =
    entry.skipVerify !== undefined || entry.caFiles.length + entry.clientFiles.length > 0;
  return entry.scheme === "http" && hasTls && portOf(entry.authority) !== "80";
}

/** Whether the server stands in for another registry, and must be told for which. */
export function isMirror(host: RegistryHost, registry: string): boolean {
  return host.authority !== (registry === hubHost ? hubAuthority : registry);
}
