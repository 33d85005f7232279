/**
 * Readers that verify every byte, each in a process of its own, until they are told to stop.
 *
 * @module
 */
import { join } from "node:path";
import { Picker } from "../../test/support/picker.ts";
import type { TorturePack } from "./packs.ts";
import { ReaderProcess } from "./reader-process.ts";
import { ways } from "./ways.ts";

/** Readers that never pause leave a small machine no time for those they wait for. */
const pauseMsMax = 40;

export interface ReadCounts {
  files: number;
  bytes: number;
  /** Files by the way in which they were read. */
  readonly ways: Map<string, number>;
  readonly problems: string[];
}

export interface ReadersOptions {
  readonly packs: readonly TorturePack[];
  readonly count: number;
  readonly seed: string;
  /** A read that takes longer waits for something that will not come. */
  readonly hungMs: number;
  /** For what readers write. */
  readonly folder: string;
}

export class Readers {
  readonly counts: ReadCounts = { files: 0, bytes: 0, ways: new Map(), problems: [] };
  readonly #options: ReadersOptions;
  readonly #running: Promise<void>[];
  #isStopped = false;

  constructor(options: ReadersOptions) {
    this.#options = options;
    this.#running = Array.from({ length: options.count }, (_, number) => this.#run(number));
  }

  /** Resolves when all have read to the end of the file they are at. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#running);
  }

  async #run(number: number): Promise<void> {
    const { packs, seed, folder } = this.#options;
    const picker = new Picker(`${seed} reader ${number}`);
    const scratch = join(folder, `reader-${number}`);
    const reader = new ReaderProcess(scratch);
    while (!this.#isStopped) {
      const pack = picker.oneOf(packs.filter(({ isReplaced }) => !isReplaced));
      if (pack !== undefined) {
        pack.readers += 1;
        await this.#readOne(pack, picker, reader, scratch);
        pack.readers -= 1;
      }
      await Bun.sleep(picker.integer(pauseMsMax));
    }
    await reader.end();
  }

  async #readOne(
    pack: TorturePack,
    picker: Picker,
    reader: ReaderProcess,
    scratch: string,
  ): Promise<void> {
    const file = picker.oneOf(pack.files) ?? { name: "", sizeBytes: 0, offsetBytes: 0 };
    const way = picker.oneOf(ways) ?? "inOrder";
    const { mountPoint, exposedPath: packPath } = pack;
    const expected = pack.expectedPath(file.name);
    const seed = String(picker.integer(1000));
    const task = { ...file, mountPoint, packPath, expected, scratch, seed };
    const { problem } = await reader.read({ way, task }, this.#options.hungMs);
    this.counts.files += 1;
    this.counts.bytes += file.sizeBytes;
    this.counts.ways.set(way, (this.counts.ways.get(way) ?? 0) + 1);
    if (problem !== "") this.counts.problems.push(`${mountPoint}/${file.name}, ${way}: ${problem}`);
  }
}
