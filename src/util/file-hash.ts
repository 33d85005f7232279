/** SHA-256 of a file, read in pieces; blocks the thread. */
import { closeSync, openSync, readSync } from "node:fs";
import { MiB } from "./bytes.ts";

export function sha256OfFile(path: string): Uint8Array {
  const hasher = new Bun.CryptoHasher("sha256");
  const buffer = Buffer.allocUnsafe(MiB);
  const file = openSync(path, "r");
  try {
    for (;;) {
      const count = readSync(file, buffer, 0, buffer.length, null);
      if (count === 0) return hasher.digest();
      hasher.update(buffer.subarray(0, count));
    }
  } finally {
    closeSync(file);
  }
}
