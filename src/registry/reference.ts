/**
 * Names of images, normalised as CRI and nerdctl do (github.com/distribution/reference).
 *
 * `debian` is `docker.io/library/debian:latest`. The first part is a host only if it has a dot or a
 * port, or is `localhost`, or has upper case, which no repository has.
 *
 * @module
 */
import { parseDigest } from "../containerd/descriptor.ts";
import { AppError } from "../errors.ts";
import type { Reference } from "./contract.ts";

const defaultHost = "docker.io";
const referenceLengthMax = 4096;
/** Of host and repository together, in the grammar of references. */
const nameLengthMax = 255;

const label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const hostPattern = new RegExp(
  String.raw`^(?:${label}(?:\.${label})*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$`,
);
const pathComponent = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const repositoryPattern = new RegExp(`^${pathComponent}(?:/${pathComponent})*$`);
const tagPattern = /^\w[\w.-]{0,127}$/;

/** @throws AppError `invalid_argument` */
export function parseReference(text: string): Reference {
  if (text.length > referenceLengthMax) throw invalid(text, "it is too long");
  const [named = "", digest, ...more] = text.split("@");
  if (more.length > 0) throw invalid(text, 'it has more than one "@"');
  if (digest !== undefined && parseDigest(digest) === undefined) {
    throw invalid(text, `"${digest}" is no digest`);
  }
  // A port is before the last slash, a tag behind it.
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  const tag = colon === -1 ? undefined : named.slice(colon + 1);
  if (tag !== undefined && !tagPattern.test(tag)) throw invalid(text, `"${tag}" is no tag`);
  const { host, repository } = splitName(colon === -1 ? named : named.slice(0, colon));
  if (!hostPattern.test(host)) throw invalid(text, `"${host}" is no host`);
  if (!repositoryPattern.test(repository)) throw invalid(text, `"${repository}" is no repository`);
  if (host.length + 1 + repository.length > nameLengthMax) throw invalid(text, "it is too long");
  const isBare = tag === undefined && digest === undefined;
  return { host, repository, tag: isBare ? "latest" : tag, digest };
}

function splitName(name: string): { host: string; repository: string } {
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = /[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  const host = isHost ? first : defaultHost;
  const rest = isHost ? name.slice(slash + 1) : name;
  // The name Docker Hub had before.
  if (host !== defaultHost && host !== "index.docker.io") return { host, repository: rest };
  return { host: defaultHost, repository: rest.includes("/") ? rest : `library/${rest}` };
}

/** The reference in full: `docker.io/library/debian:12@sha256:…`. */
export function formatReference({ host, repository, tag, digest }: Reference): string {
  const suffix = (tag === undefined ? "" : `:${tag}`) + (digest === undefined ? "" : `@${digest}`);
  return `${host}/${repository}${suffix}`;
}

function invalid(text: string, problem: string): AppError {
  const shown = text.length > nameLengthMax ? `${text.slice(0, nameLengthMax)}…` : text;
  return new AppError("invalid_argument", `"${shown}" does not name an image: ${problem}`, {
    remedy: "write it as host/repository:tag or host/repository@sha256:…",
  });
}
