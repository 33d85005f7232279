/**
 * Finds who reads a file in order, and what to fetch before it is asked for.
 *
 * The kernel reads ahead within an image, but a few hundred KiB, which is no time for a registry;
 * and it never reads ahead in a file that is watched. A window ends where the file ends: what lies
 * behind it in the pack is another file, which perhaps nobody reads.
 *
 * @module
 */
import { KiB, MiB } from "../../util/bytes.ts";

export interface Window {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

interface Reader {
  /** Where it will read next. */
  nextBytes: number;
  /** How much it has read in order. */
  runBytes: number;
  /** Up to where it was asked for. */
  aheadBytes: number;
}

/**
 * Where the file ends that has a byte of the pack.
 *
 * @param limitBytes beyond, any later offset will do
 */
export type FileEnd = (offsetBytes: number, limitBytes: number) => number;

/** Readers of a pack that are told apart; with more, the longest idle one is forgotten. */
const readersMax = 8;
/** Files begin at blocks; readahead may have gone a little further than the reader. */
const gapBytesMax = 128 * KiB;
/** Less than that is read in order by chance. */
const runBytesMin = 512 * KiB;
const windowBytesMax = 16 * MiB;

export class ReadAhead {
  /** The one that read last comes last. */
  readonly #readers: Reader[] = [];

  /** Takes note of a read. @returns what its reader is likely to need soon, if that is news */
  observe(offsetBytes: number, lengthBytes: number, fileEnd: FileEnd): Window | undefined {
    const end = offsetBytes + lengthBytes;
    const index = this.#readers.findIndex(
      ({ nextBytes }) => offsetBytes >= nextBytes && offsetBytes <= nextBytes + gapBytesMax,
    );
    if (index < 0) {
      if (this.#readers.length === readersMax) this.#readers.shift();
      this.#readers.push({ nextBytes: end, runBytes: lengthBytes, aheadBytes: end });
      return undefined;
    }
    const [reader] = this.#readers.splice(index, 1) as [Reader];
    this.#readers.push(reader);
    reader.runBytes += lengthBytes;
    reader.nextBytes = end;
    return nextWindow(reader, fileEnd);
  }
}

/**
 * As much as was read in order so far, but no more than the rest of the file, once half of what was
 * asked for before is used up.
 */
function nextWindow(reader: Reader, fileEnd: FileEnd): Window | undefined {
  if (reader.runBytes < runBytesMin) return undefined;
  const windowBytes = Math.min(reader.runBytes, windowBytesMax);
  const from = Math.max(reader.aheadBytes, reader.nextBytes);
  if (from - reader.nextBytes > windowBytes / 2) return undefined;
  const limitBytes = reader.nextBytes + windowBytes;
  const end = Math.min(limitBytes, fileEnd(reader.nextBytes - 1, limitBytes));
  if (end <= from) return undefined;
  reader.aheadBytes = end;
  return { offsetBytes: from, lengthBytes: end - from };
}
