/**
 * Manifests and indexes: small, hashed before anybody sees them.
 *
 * @module
 */
import type { Descriptor } from "../containerd/descriptor.ts";
import { parseDigest } from "../containerd/descriptor.ts";
import { sha256Digest } from "../util/digest.ts";
import type { Calls, Target } from "./calls.ts";
import type { CallOptions, Reference } from "./contract.ts";
import type { HttpAnswer } from "./http.ts";
import { manifestBytesMax } from "./limits.ts";
import { RegistryError } from "./registry-error.ts";
import { verifyBytes } from "./verify.ts";

/** All kinds there are: a registry sends what it has only to who takes it. */
const acceptHeader = [
  "Accept",
  [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "*/*;q=0.1",
  ].join(", "),
] as const;

const defaultTag = "latest";

export class Manifests {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  async resolve(reference: Reference, options: CallOptions): Promise<Descriptor> {
    const target = reference.digest ?? reference.tag ?? defaultTag;
    const capability = reference.digest === undefined ? "resolve" : "pull";
    return this.#calls.ask(
      reference,
      target,
      capability,
      async (server) => {
        const head = await requestManifest(server, "HEAD", target);
        await head.body.discard();
        const described = describe(head, reference.digest);
        if (described !== undefined) return described;
        // A registry that does not say it all in a HEAD has to send the manifest itself.
        const answer = await requestManifest(server, "GET", target);
        const bytes = await readManifest(server, answer, target);
        const digest = reference.digest ?? sha256Digest(bytes);
        return { mediaType: mediaTypeOf(answer), digest, sizeBytes: bytes.length };
      },
      options,
    );
  }

  async bytes(reference: Reference, target: string, options: CallOptions): Promise<Uint8Array> {
    const capability = parseDigest(target) === undefined ? "resolve" : "pull";
    const attempt = async (server: Target) =>
      readManifest(server, await requestManifest(server, "GET", target), target);
    return this.#calls.ask(reference, target, capability, attempt, options);
  }

  async put(
    reference: Reference,
    bytes: Uint8Array,
    mediaType: string,
    options: CallOptions,
  ): Promise<Descriptor> {
    const digest = sha256Digest(bytes);
    const target = reference.tag ?? digest;
    const open = async function* () {
      yield bytes;
    };
    await this.#calls.push(
      reference,
      target,
      undefined,
      async ({ send, subject }) => {
        const answer = await send({
          method: "PUT",
          target: `manifests/${target}`,
          headers: [["Content-Type", mediaType]],
          content: { sizeBytes: bytes.length, open },
        });
        await answer.body.discard();
        const stored = answer.headers.get("docker-content-digest") ?? digest;
        if (stored === digest) return;
        throw new RegistryError("data_loss", subject, `stored ${digest} as ${stored}`);
      },
      options,
    );
    return { mediaType, digest, sizeBytes: bytes.length };
  }
}

function requestManifest(
  { send }: Target,
  method: "GET" | "HEAD",
  target: string,
): Promise<HttpAnswer> {
  return send({ method, target: `manifests/${target}`, headers: [acceptHeader] });
}

async function readManifest(
  { subject }: Target,
  { body }: HttpAnswer,
  target: string,
): Promise<Uint8Array> {
  const bytes = await body.bytes(manifestBytesMax);
  if (parseDigest(target) === undefined) return bytes;
  try {
    verifyBytes(bytes, target);
  } catch (cause) {
    throw new RegistryError("data_loss", subject, "sent another manifest", { cause });
  }
  return bytes;
}

function mediaTypeOf({ headers }: HttpAnswer): string {
  return headers.get("content-type")?.split(";")[0]?.trim() ?? "";
}

/** What the headers say, where they say everything. */
function describe(head: HttpAnswer, known: string | undefined): Descriptor | undefined {
  const digest = known ?? head.headers.get("docker-content-digest") ?? "";
  const length = head.headers.get("content-length") ?? "";
  const mediaType = mediaTypeOf(head);
  const isWhole = parseDigest(digest) !== undefined && /^\d{1,15}$/.test(length);
  if (!isWhole || mediaType === "" || Number(length) === 0) return undefined;
  return { mediaType, digest, sizeBytes: Number(length) };
}
