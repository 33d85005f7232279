/**
 * Whether bytes are those that a digest stands for.
 *
 * @module
 */
import { parseDigest } from "../containerd/descriptor.ts";
import { AppError } from "../errors.ts";
import type { BlobDescriptor } from "./contract.ts";

const remedy = "the registry or a mirror serves damaged or forged content: push the image again";

/** Hashes with the algorithm of a digest; throws `invalid_argument` for what is no digest. */
export function hasherFor(digest: string): Bun.CryptoHasher {
  const parsed = parseDigest(digest);
  if (parsed === undefined) throw new AppError("invalid_argument", `"${digest}" is no digest`);
  return new Bun.CryptoHasher(parsed.algorithm);
}

function finish(hasher: Bun.CryptoHasher): string {
  return `${hasher.algorithm}:${hasher.digest("hex")}`;
}

/** @throws AppError `data_loss` if the bytes have another digest */
export function verifyBytes(bytes: Uint8Array, digest: string): void {
  const found = finish(hasherFor(digest).update(bytes));
  if (found === digest) return;
  throw new AppError("data_loss", `the content of ${digest} has the digest ${found}`, { remedy });
}

/**
 * The pieces as they come; throws `data_loss` behind the last one, or as soon as there are too
 * many, if they are not the blob. What came before must not be relied on until the end.
 */
export async function* verifyBlob(
  blob: BlobDescriptor,
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  const hasher = hasherFor(blob.digest);
  let sizeBytes = 0;
  for await (const piece of pieces) {
    sizeBytes += piece.length;
    if (sizeBytes > blob.sizeBytes) break;
    hasher.update(piece);
    yield piece;
  }
  const found = finish(hasher);
  if (sizeBytes === blob.sizeBytes && found === blob.digest) return;
  const problem =
    sizeBytes > blob.sizeBytes
      ? `is longer than ${blob.sizeBytes} bytes`
      : `has ${sizeBytes} bytes with the digest ${found}, not ${blob.sizeBytes}`;
  throw new AppError("data_loss", `the content of ${blob.digest} ${problem}`, { remedy });
}
