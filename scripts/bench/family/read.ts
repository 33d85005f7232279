/**
 * Reading one large file of an image: in order and at random places, cold and warm.
 *
 * @module
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { MiB } from "../../../src/util/bytes.ts";
import { randomBytes } from "../../../test/support/random.ts";
import { dropCaches } from "./caches.ts";

export interface ReadResult {
  /** MB (10⁶ bytes) per second. */
  readonly coldSequential: number;
  readonly warmSequential: number;
  /** Microseconds for 4 KiB. */
  readonly coldRandom: number;
  readonly warmRandom: number;
}

const randomReads = 4000;
const randomBytesEach = 4096;
const warmPasses = 3;
const buffer = Buffer.alloc(MiB);

function withFile<T>(path: string, task: (fd: number, sizeBytes: number) => T): T {
  const fd = openSync(path, "r");
  try {
    return task(fd, fstatSync(fd).size);
  } finally {
    closeSync(fd);
  }
}

/** MB per second of reading the whole file. */
function readAll(path: string): number {
  return withFile(path, (fd, sizeBytes) => {
    const startMs = performance.now();
    let read = 0;
    for (let length = -1; length !== 0; read += length) {
      length = readSync(fd, buffer, 0, buffer.length, null);
    }
    if (read !== sizeBytes) throw new Error(`${path}: ${read} bytes instead of ${sizeBytes}`);
    return sizeBytes / 1000 / (performance.now() - startMs);
  });
}

/** Microseconds a read of 4 KiB takes at places that are the same for everybody. */
function readRandomly(path: string): number {
  const draws = randomBytes("random reads", randomReads * 4);
  return withFile(path, (fd, sizeBytes) => {
    const blocks = Math.floor(sizeBytes / randomBytesEach);
    const startMs = performance.now();
    for (let index = 0; index < randomReads; index++) {
      const block = Math.floor((draws.readUInt32LE(index * 4) / 2 ** 32) * blocks);
      readSync(fd, buffer, 0, randomBytesEach, block * randomBytesEach);
    }
    return ((performance.now() - startMs) * 1000) / randomReads;
  });
}

/** @param path of a file far larger than what is read of it at random */
export async function measureRead(path: string): Promise<ReadResult> {
  await dropCaches();
  const coldRandom = readRandomly(path);
  const warmRandom = readRandomly(path);
  await dropCaches();
  const coldSequential = readAll(path);
  const passes = Array.from({ length: warmPasses }, () => readAll(path));
  return { coldSequential, warmSequential: Math.max(...passes), coldRandom, warmRandom };
}
