/**
 * Bringing blobs to a registry (distribution-spec, "Pushing Blobs").
 *
 * A blob goes in one request, as a stream. Front ends that limit the size of requests answer 413;
 * then it goes in pieces, each held in memory.
 *
 * @module
 */
import type { Calls, Target } from "./calls.ts";
import type { BlobDescriptor, Reference, UploadOptions, UploadOutcome } from "./contract.ts";
import { AppError } from "../errors.ts";
import { checkDigest } from "./blobs.ts";
import type { HttpAnswer } from "./http.ts";
import { uploadPieceBytes } from "./limits.ts";
import { locationUrl } from "./redirects.ts";
import { RegistryError } from "./registry-error.ts";

type Content = () => AsyncIterable<Uint8Array>;

const bytesType = ["Content-Type", "application/octet-stream"] as const;

export class Uploads {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  async upload(
    reference: Reference,
    blob: BlobDescriptor,
    content: Content,
    options: UploadOptions,
  ): Promise<UploadOutcome> {
    checkDigest(blob.digest);
    const { mountFrom } = options;
    const attempt = async (target: Target): Promise<UploadOutcome> => {
      if (await exists(target, blob)) return "existed";
      const upload = await begin(target, blob, mountFrom);
      if (upload === "mounted") return upload;
      await sendWhole(target, blob, upload, content);
      return "uploaded";
    };
    return this.#calls.push(reference, blob.digest, mountFrom, attempt, options);
  }
}

/** The origin of a server's locations that are relative is the one it was asked at. */
function locationOf({ subject }: Target, answer: HttpAnswer, base: URL): URL {
  return locationUrl(answer.headers.get("location"), base, subject);
}

async function exists({ send }: Target, { digest }: BlobDescriptor): Promise<boolean> {
  try {
    const answer = await send({ method: "HEAD", target: `blobs/${digest}` });
    await answer.body.discard();
    return true;
  } catch (error) {
    if (error instanceof AppError && error.code === "not_found") return false;
    throw error;
  }
}

/** Where to send the blob; 201 says that it was taken from the other repository. */
async function begin(
  target: Target,
  { digest }: BlobDescriptor,
  mountFrom: string | undefined,
): Promise<URL | "mounted"> {
  const query = mountFrom === undefined ? {} : { mount: digest, from: mountFrom };
  const answer = await target.send({ method: "POST", target: "blobs/uploads/", query });
  await answer.body.discard();
  if (answer.status === 201) return "mounted";
  return locationOf(target, answer, answer.url);
}

async function sendWhole(
  target: Target,
  blob: BlobDescriptor,
  upload: URL,
  content: Content,
): Promise<void> {
  try {
    await put(target, upload, blob, { sizeBytes: blob.sizeBytes, open: content });
  } catch (error) {
    if (!(error instanceof RegistryError) || error.status !== 413) throw error;
    const fresh = await begin(target, blob, undefined);
    if (fresh !== "mounted") await sendPieces(target, blob, fresh, content);
  }
}

/** The request that ends an upload names the digest; the registry hashes what it got. */
async function put(
  { send }: Target,
  upload: URL,
  { digest }: BlobDescriptor,
  content: { readonly sizeBytes: number; readonly open: Content },
): Promise<void> {
  const answer = await send({
    method: "PUT",
    target: upload,
    query: { digest },
    headers: [bytesType],
    content,
  });
  await answer.body.discard();
}

async function sendPieces(
  target: Target,
  blob: BlobDescriptor,
  upload: URL,
  content: Content,
): Promise<void> {
  let location = upload;
  let at = 0;
  for await (const piece of regroup(content(), uploadPieceBytes)) {
    const answer = await target.send({
      method: "PATCH",
      target: location,
      headers: [bytesType, ["Content-Range", `${at}-${at + piece.length - 1}`]],
      content: contentOf(piece),
    });
    await answer.body.discard();
    location = locationOf(target, answer, location);
    at += piece.length;
  }
  await put(target, location, blob, contentOf(new Uint8Array(0)));
}

function contentOf(bytes: Uint8Array) {
  const open = async function* () {
    yield bytes;
  };
  return { sizeBytes: bytes.length, open };
}

/** The same bytes in pieces of one size, the last one excepted. */
async function* regroup(
  pieces: AsyncIterable<Uint8Array>,
  sizeBytes: number,
): AsyncGenerator<Uint8Array, void> {
  let buffer = Buffer.allocUnsafeSlow(sizeBytes);
  let filled = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + sizeBytes - filled);
      buffer.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < sizeBytes) continue;
      yield buffer;
      buffer = Buffer.allocUnsafeSlow(sizeBytes);
      filled = 0;
    }
  }
  if (filled > 0) yield buffer.subarray(0, filled);
}
