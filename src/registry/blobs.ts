/**
 * Blobs, whole and in parts.
 *
 * @module
 */
import { parseDigest } from "../containerd/descriptor.ts";
import { AppError } from "../errors.ts";
import type { Calls, Target } from "./calls.ts";
import type { BlobDescriptor, CallOptions, RangeOptions, Reference } from "./contract.ts";
import type { RegistryHost } from "./hosts.ts";
import type { HttpAnswer } from "./http.ts";
import { continuationsMax, partBytes, rangeBytesMax } from "./limits.ts";
import { rangeHeader, rangePieces, type ByteRange } from "./range.ts";
import { RegistryError, toRegistryError, type Subject } from "./registry-error.ts";

/** A body that has begun, and who sends it. */
interface OpenBlob {
  readonly host: RegistryHost;
  readonly subject: Subject;
  readonly first: IteratorResult<Uint8Array, void>;
  readonly rest: AsyncGenerator<Uint8Array, void>;
}

export class Blobs {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  async has(reference: Reference, digest: string, options: CallOptions): Promise<boolean> {
    checkDigest(digest);
    const attempt = async ({ send }: Target) => {
      const answer = await send({ method: "HEAD", target: `blobs/${digest}` });
      await answer.body.discard();
      return true;
    };
    try {
      return await this.#calls.ask(reference, digest, "pull", attempt, options);
    } catch (error) {
      if (error instanceof AppError && error.code === "not_found") return false;
      throw error;
    }
  }

  async range(
    reference: Reference,
    digest: string,
    range: ByteRange,
    { check, ...options }: RangeOptions,
  ): Promise<Uint8Array> {
    checkDigest(digest);
    checkRange(range);
    if (range.lengthBytes === 0) return new Uint8Array(0);
    const attempt = async (target: Target) => {
      const bytes = await readRange(target, digest, range);
      await check?.(bytes, target.subject.host);
      return bytes;
    };
    return this.#calls.ask(reference, digest, "pull", attempt, options);
  }

  /** Part by part of one server, all of them again of the next. */
  async parts<T>(
    reference: Reference,
    digest: string,
    range: ByteRange,
    use: (parts: AsyncIterable<Uint8Array>, host: string) => Promise<T>,
    options: CallOptions,
  ): Promise<T> {
    checkDigest(digest);
    const attempt = (target: Target) => use(partsOf(target, digest, range), target.subject.host);
    return this.#calls.ask(reference, digest, "pull", attempt, options);
  }

  /** A server that breaks off is left for another; the pieces go on where they ended. */
  async *pieces(
    reference: Reference,
    blob: BlobDescriptor,
    options: CallOptions,
  ): AsyncGenerator<Uint8Array, void> {
    checkDigest(blob.digest);
    let at = 0;
    for (let opened = 0; at < blob.sizeBytes; opened++) {
      const { host, subject, first, rest } = await this.#open(reference, blob, at, options);
      try {
        for (let next = first; next.done !== true; next = await rest.next()) {
          at += next.value.length;
          yield next.value;
        }
      } catch (error) {
        const failure = toRegistryError(error, subject);
        if (!failure.isTransient || opened === continuationsMax) throw failure;
        this.#calls.noteFailure(host);
      } finally {
        await rest.return();
      }
    }
  }

  /** With its first piece: a server that sends none is as good as one that does not answer. */
  #open(
    reference: Reference,
    { digest, sizeBytes }: BlobDescriptor,
    at: number,
    options: CallOptions,
  ): Promise<OpenBlob> {
    const range = { offsetBytes: at, lengthBytes: sizeBytes - at };
    const attempt = async ({ host, send, subject }: Target) => {
      const headers = at === 0 ? [] : [rangeHeader(range)];
      const answer = await send({ method: "GET", target: `blobs/${digest}`, headers });
      await checkLength(answer, sizeBytes, subject);
      const rest = rangePieces(answer, range, subject);
      return { host, subject, first: await rest.next(), rest };
    };
    return this.#calls.ask(reference, digest, "pull", attempt, options);
  }
}

async function* partsOf(
  target: Target,
  digest: string,
  { offsetBytes, lengthBytes }: ByteRange,
): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < lengthBytes; at += partBytes) {
    const part = Math.min(partBytes, lengthBytes - at);
    yield await readRange(target, digest, { offsetBytes: offsetBytes + at, lengthBytes: part });
  }
}

async function readRange(
  { send, subject }: Target,
  digest: string,
  range: ByteRange,
): Promise<Uint8Array> {
  const headers = [rangeHeader(range)];
  const answer = await send({ method: "GET", target: `blobs/${digest}`, headers });
  const bytes = Buffer.allocUnsafeSlow(range.lengthBytes);
  let at = 0;
  for await (const piece of rangePieces(answer, range, subject)) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** What names no blob is not asked for: it would become a part of a path. */
export function checkDigest(digest: string): void {
  if (parseDigest(digest) !== undefined) return;
  throw new AppError("invalid_argument", `"${digest}" is no digest`);
}

function checkRange({ offsetBytes, lengthBytes }: ByteRange): void {
  const isSound =
    Number.isSafeInteger(offsetBytes) && Number.isSafeInteger(lengthBytes) && offsetBytes >= 0;
  if (isSound && lengthBytes >= 0 && lengthBytes <= rangeBytesMax) return;
  const problem = `${lengthBytes} bytes at ${offsetBytes} are no range of at most ${rangeBytesMax}`;
  throw new AppError("invalid_argument", problem);
}

/** Another size is another blob, which need not be read to be known. */
async function checkLength(answer: HttpAnswer, sizeBytes: number, subject: Subject): Promise<void> {
  const length = answer.headers.get("content-length");
  if (answer.status !== 200 || length === null || Number(length) === sizeBytes) return;
  await answer.body.discard();
  throw new RegistryError("data_loss", subject, `has ${length} bytes, not ${sizeBytes}`);
}
