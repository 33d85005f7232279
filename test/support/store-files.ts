/** Files for stores: text that compresses, in every size that is stored in its own way. */
import { randomBytes } from "./random.ts";
import type { Files } from "./store.ts";
import { MiB } from "../../src/util/bytes.ts";

/** Text that no other seed has a block of. */
export function text(seed: number, sizeBytes: number): Buffer {
  const words = Array.from({ length: sizeBytes / 8 + 1 }, (_, at) => `${seed}.${at % 4000} line\n`);
  return Buffer.from(words.join("")).subarray(0, sizeBytes);
}

export function manySmall(count: number, firstSeed = 0): Files {
  return Object.fromEntries(
    Array.from({ length: count }, (_, at) => [
      `small-${firstSeed + at}`,
      text(firstSeed + at, 600 + ((at * 977) % 9000)),
    ]),
  );
}

/** Small files that compress to about half: a bundle of them has some twenty blocks. */
export function manyDense(count: number, firstSeed = 0): Files {
  return Object.fromEntries(
    Array.from({ length: count }, (_, at) => {
      const half = randomBytes(`dense ${firstSeed + at}`, 300 + ((at * 977) % 4500));
      return [`dense-${firstSeed + at}`, half.toString("hex")];
    }),
  );
}

/** Every way a file can be stored, also side by side in one. */
export function variousFiles(chunkBytes: number): Files {
  const random = randomBytes("various", 2 * MiB);
  return {
    ...manySmall(80),
    empty: "",
    inline: "inline",
    "random-small": random.subarray(0, 20_000),
    "one-extent": text(1000, 100_000),
    "several-extents": text(1001, 400_001),
    "random-extents": random.subarray(0, 300_000),
    "several-chunks": text(1002, 3 * MiB + 77),
    mixed: Buffer.concat([text(1003, chunkBytes), random, text(1004, 100_000)]),
    "mixed-in-a-chunk": Buffer.concat([random.subarray(0, 200_000), text(1005, 300_000)]),
    zeros: Buffer.alloc(300_000),
    "zeros-within": Buffer.concat([text(1006, chunkBytes), Buffer.alloc(chunkBytes), random]),
  };
}
