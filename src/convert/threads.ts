/**
 * Worker threads for layers. Parsing and hashing take one thread for each layer; compression takes
 * what the machine has, so a single large layer is fast as well.
 *
 * @module
 */
import { availableParallelism } from "node:os";
import type { AppError } from "../errors.ts";
import { defined } from "../util/assert.ts";
import { MiB } from "../util/bytes.ts";
import { WorkerPool } from "../workers.ts";
import type { ConvertedLayer } from "./layer.ts";
import type { RunLayerJob } from "./layers.ts";

const idleMs = 1000;
/** What each takes: a runtime, the chunks on their way, and garbage until it is collected. */
const threadBytes = 160 * MiB;
/** More of them wait for compression, which takes all cores anyway. */
const threadsMax = 3;

export interface LayerThreads extends Disposable {
  readonly run: RunLayerJob;
}

/** As many as have a core, and together take no more than half of the memory there is. */
function fittingThreads(): number {
  // 0 where no control group limits it.
  const limitBytes = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  const memoryBytes = Math.min(process.availableMemory(), limitBytes);
  const fitting = Math.floor(memoryBytes / 2 / threadBytes);
  return Math.max(1, Math.min(fitting, availableParallelism(), threadsMax));
}

export function startLayerThreads(onCrash: (error: AppError) => void): LayerThreads {
  const reports = new Map<number, (bytes: number) => void>();
  let jobs = 0;
  const pool = new WorkerPool({
    threadsMax: fittingThreads(),
    idleMs,
    configuration: () => undefined,
    handlers: {
      progress({ job, bytes }: { job: number; bytes: number }): void {
        reports.get(job)?.(bytes);
      },
    },
    onCrash,
  });
  return {
    async run(layer, onProgress) {
      const job = jobs++;
      reports.set(job, onProgress);
      try {
        const argument = { job, layer };
        return defined(await pool.call<ConvertedLayer>("convertLayer", argument), "a layer");
      } finally {
        reports.delete(job);
      }
    },
    [Symbol.dispose]: () => pool.close(),
  };
}
