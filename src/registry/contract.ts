/**
 * What the rest of the program asks of a registry (OCI distribution specification 1.1).
 *
 * One client serves all registries and repositories; it keeps connections, tokens and the health of
 * mirrors between calls, and each call may go to another mirror. Nothing that a registry says is
 * believed: manifests are hashed before they are returned, a range has the length that was asked
 * for, a stream has at most the size of its descriptor. Who reads a blob verifies it:
 * `verifyBlob()` in `verify.ts`.
 *
 * All methods reject with `RegistryError` (registry-error.ts), whose `code` is
 * - `not_found`: no such repository, tag or blob (at any mirror that answered);
 * - `permission_denied`: the registry wants other credentials, or none will do;
 * - `unavailable`: nobody answered in time, or only with 5xx and 429; asking later may help;
 * - `data_loss`: what came is not what the digest, the size or the range says;
 * - `unimplemented`: the registry has no ranges;
 * - `failed_precondition`: we refuse (a redirect to a link-local address, a certificate, a size);
 * - `invalid_argument`: a reference, digest or configuration file that does not parse;
 * - `cancelled`: the signal was aborted.
 *
 * @module
 */
import type { Descriptor } from "../containerd/descriptor.ts";

/** An image or repository by name, normalised as containerd does; made by `parseReference()`. */
export interface Reference {
  /** As in the name: `docker.io`, `localhost:5000`; which server that is, is not said. */
  readonly host: string;
  /** `library/debian`. */
  readonly repository: string;
  readonly tag: string | undefined;
  /** `sha256:…`; wins over the tag where both are given. */
  readonly digest: string | undefined;
}

export interface CallOptions {
  /** Ends the call, also in the middle of a body; it rejects with `cancelled`. */
  readonly signal?: AbortSignal;
}

/** What names a blob and bounds what is read of it; a layer's or config's `Descriptor` is one. */
export type BlobDescriptor = Pick<Descriptor, "digest" | "sizeBytes">;

export interface RangeOptions extends CallOptions {
  /**
   * Looks at what a server sent before it is taken. Where it rejects with `data_loss`, the next
   * server is asked, and this one after the others for a while.
   *
   * @param host `host[:port]` of the server
   */
  readonly check?: (bytes: Uint8Array, host: string) => Promise<void>;
}

export interface UploadOptions extends CallOptions {
  /** A repository of the same registry that has the blob: nothing is sent where that is granted. */
  readonly mountFrom?: string;
}

/** What an upload came to: the registry had the blob, took it from `mountFrom`, or was sent it. */
export type UploadOutcome = "existed" | "mounted" | "uploaded";

export interface RegistryClient {
  /** The manifest or index that a tag (`latest` where there is none) or digest stands for. */
  resolve(reference: Reference, options?: CallOptions): Promise<Descriptor>;

  /**
   * The bytes of a manifest or index, whole; at most `manifestBytesMax`.
   *
   * @param target a digest, which the bytes have then, or a tag, where the registry's word is taken
   */
  manifest(reference: Reference, target: string, options?: CallOptions): Promise<Uint8Array>;

  /**
   * The bytes of a blob in order, exactly `sizeBytes` of them, not yet verified; nothing is
   * asked for before the first piece is. A connection that breaks is continued at a mirror.
   */
  blob(
    reference: Reference,
    blob: BlobDescriptor,
    options?: CallOptions,
  ): AsyncIterable<Uint8Array>;

  /**
   * Exactly `[offsetBytes, offsetBytes + lengthBytes)` of a blob, not verified.
   *
   * @param lengthBytes at most `rangeBytesMax`
   */
  blobRange(
    reference: Reference,
    digest: string,
    offsetBytes: number,
    lengthBytes: number,
    options?: RangeOptions,
  ): Promise<Uint8Array>;

  /**
   * A range of a blob that is too large to be held in memory, not verified.
   *
   * @param use is given its parts in order, all of one server, and `host[:port]` of that. Where
   *   it rejects with `data_loss`, or the server fails, it is called again with those of the next
   */
  blobParts<T>(
    reference: Reference,
    digest: string,
    offsetBytes: number,
    lengthBytes: number,
    use: (parts: AsyncIterable<Uint8Array>, host: string) => Promise<T>,
    options?: CallOptions,
  ): Promise<T>;

  /** Whether the repository has the blob. */
  hasBlob(reference: Reference, digest: string, options?: CallOptions): Promise<boolean>;

  /**
   * Makes sure that the repository has a blob. Goes to the registry itself, or to a host of
   * `hosts.toml` with the capability `push`.
   *
   * @param content called for each attempt; yields `sizeBytes` bytes
   */
  uploadBlob(
    reference: Reference,
    blob: BlobDescriptor,
    content: () => AsyncIterable<Uint8Array>,
    options?: UploadOptions,
  ): Promise<UploadOutcome>;

  /** Stores a manifest or index by the tag of the reference, else by the digest of the bytes. */
  putManifest(
    reference: Reference,
    bytes: Uint8Array,
    mediaType: string,
    options?: CallOptions,
  ): Promise<Descriptor>;
}
