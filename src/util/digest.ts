/** SHA-256 as images write it. */

/** `sha256:<hexadecimal>`. */
export function sha256Digest(bytes: Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}
