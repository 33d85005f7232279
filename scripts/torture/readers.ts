/**
 * Readers that verify every byte, each file in a process of its own, until they are told to stop.
 *
 * @module
 */
import { Picker } from "../../test/support/picker.ts";
import { startReader } from "../../test/support/ondemand/reader.ts";
import type { TorturePack } from "./packs.ts";

const ways = ["inOrder", "atRandom", "mapped"] as const;
const idleMs = 20;

export interface ReadCounts {
  files: number;
  bytes: number;
  readonly problems: string[];
}

export class Readers {
  readonly counts: ReadCounts = { files: 0, bytes: 0, problems: [] };
  readonly #packs: readonly TorturePack[];
  readonly #seed: string;
  readonly #hungMs: number;
  readonly #running: Promise<void>[];
  #isStopped = false;

  /** @param hungMs a reader that takes longer waits for something that will not come */
  constructor(packs: readonly TorturePack[], count: number, seed: string, hungMs: number) {
    this.#packs = packs;
    this.#seed = seed;
    this.#hungMs = hungMs;
    this.#running = Array.from({ length: count }, (_, number) => this.#run(number));
  }

  /** Resolves when all have read to the end of the file they are at. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#running);
  }

  async #run(number: number): Promise<void> {
    const picker = new Picker(`${this.#seed} reader ${number}`);
    while (!this.#isStopped) {
      const pack = picker.oneOf(this.#packs.filter(({ isReplaced }) => !isReplaced));
      if (pack === undefined) {
        await Bun.sleep(idleMs);
        continue;
      }
      pack.readers += 1;
      await this.#readOne(pack, picker);
      pack.readers -= 1;
    }
  }

  async #readOne(pack: TorturePack, picker: Picker): Promise<void> {
    const file = picker.oneOf(pack.files) ?? { name: "", sizeBytes: 0 };
    const way = picker.oneOf(ways) ?? "inOrder";
    const path = `${pack.mountPoint}/${file.name}`;
    const expected = pack.expectedPath(file.name);
    const seed = String(picker.integer(1000));
    const reader = startReader({ path, expected, way, seed, failuresMax: 0 });
    const late = Promise.withResolvers<string>();
    const timer = setTimeout(() => late.resolve("hangs"), this.#hungMs);
    const outcome = reader.report.then(
      ({ bytes, wrongReads }) => {
        this.counts.bytes += bytes;
        return wrongReads === 0 && bytes === file.sizeBytes ? "" : `${wrongReads} wrong reads`;
      },
      () => "an error",
    );
    const problem = await Promise.race([outcome, late.promise]);
    clearTimeout(timer);
    this.counts.files += 1;
    if (problem === "") return;
    this.counts.problems.push(`${path}, ${way}: ${problem}`);
    if (problem !== "hangs") return;
    process.kill(reader.pid, "SIGKILL");
    await outcome;
  }
}
