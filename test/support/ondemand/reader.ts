/**
 * Reads a file in a process of its own and compares every byte: what waits for a backend must not
 * keep its server from running.
 *
 * `bun reader.ts '{"path": …}'`; the answer is a line of JSON.
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { mapFile, unmapFile, viewOf } from "../../../ffi/mapping.ts";
import { projectFolder } from "../../../scripts/lib/project.ts";
import { KiB } from "../../../src/util/bytes.ts";
import { Picker } from "../picker.ts";

export interface ReaderTask {
  readonly path: string;
  /** A file with the bytes that must come. */
  readonly expected: string;
  readonly way: "inOrder" | "atRandom" | "mapped";
  readonly seed: string;
  /** Reads that fail are tried again; each is counted. */
  readonly failuresMax: number;
}

export interface ReaderReport {
  readonly bytes: number;
  readonly wrongReads: number;
  readonly failures: number;
}

export interface RunningReader {
  readonly pid: number;
  readonly report: Promise<ReaderReport>;
}

/** Starts a reader; kill it by its id. */
export function startReader(task: ReaderTask): RunningReader {
  const command = [process.execPath, `${projectFolder}/test/support/ondemand/reader.ts`];
  const child = Bun.spawn([...command, JSON.stringify(task)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return { pid: child.pid, report: reportOf(child) };
}

/** When the process is gone: until then it has the file open. */
async function reportOf(child: Bun.Subprocess<"ignore", "pipe">): Promise<ReaderReport> {
  const text = await new Response(child.stdout).text();
  await child.exited;
  return JSON.parse(text) as ReaderReport;
}

const readBytes = 37 * KiB;

/** In this process. */
export function readAndCompare(task: ReaderTask): ReaderReport {
  return new Reader(task).run();
}

class Reader {
  readonly #task: ReaderTask;
  readonly #expected: Buffer;
  readonly #buffer = Buffer.alloc(readBytes);
  bytes = 0;
  wrongReads = 0;
  failures = 0;

  constructor(task: ReaderTask) {
    this.#task = task;
    this.#expected = readFileSync(task.expected);
  }

  run(): ReaderReport {
    const file = openSync(this.#task.path, "r");
    const offsets: number[] = [];
    for (let offset = 0; offset < this.#expected.length; offset += readBytes) offsets.push(offset);
    const { way, path, seed } = this.#task;
    const mapping = way === "mapped" ? mapFile(path) : undefined;
    const mapped = mapping === undefined ? undefined : viewOf(mapping);
    for (const offset of way === "atRandom" ? new Picker(seed).shuffled(offsets) : offsets) {
      const wanted = this.#expected.subarray(offset, offset + readBytes);
      const end = offset + wanted.length;
      const bytes = mapped?.subarray(offset, end) ?? this.#readAt(file, offset, wanted.length);
      this.bytes += bytes.length;
      if (Buffer.compare(bytes, wanted) !== 0) this.wrongReads += 1;
    }
    closeSync(file);
    if (mapping !== undefined) unmapFile(mapping);
    const { bytes, wrongReads, failures } = this;
    return { bytes, wrongReads, failures };
  }

  #readAt(file: number, offset: number, sizeBytes: number): Uint8Array {
    for (;;) {
      try {
        let filled = 0;
        for (;;) {
          const count = readSync(file, this.#buffer, filled, sizeBytes - filled, offset + filled);
          filled += count;
          if (count === 0 || filled === sizeBytes) return this.#buffer.subarray(0, filled);
        }
      } catch (error) {
        this.failures += 1;
        if (this.failures > this.#task.failuresMax) throw error;
      }
    }
  }
}

if (import.meta.main) {
  // A signal with a handler interrupts what the process waits for, and must not harm it.
  process.on("SIGUSR1", () => undefined);
  const report = readAndCompare(JSON.parse(process.argv[2] ?? "") as ReaderTask);
  process.stdout.write(JSON.stringify(report));
}
