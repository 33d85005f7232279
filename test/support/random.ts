/**
 * Pseudo-random numbers that are the same in every run.
 *
 * @module
 */
import { createCipheriv, createHash } from "node:crypto";

/** Bytes that depend on the seed alone and do not compress: AES-CTR over zeros. */
export function randomBytes(seed: string, sizeBytes: number): Buffer {
  const key = createHash("sha256").update(seed).digest();
  return createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(sizeBytes));
}
