/**
 * Worker threads for layers. Parsing and hashing take one thread for each layer; compression takes
 * what the machine has, so a single large layer is fast as well.
 *
 * @module
 */
import { availableParallelism } from "node:os";
import type { AppError } from "../errors.ts";
import { defined } from "../util/assert.ts";
import { WorkerPool } from "../workers.ts";
import type { ConvertedLayer } from "./layer.ts";
import type { RunLayerJob } from "./layers.ts";

const idleMs = 1000;
/** Each takes about 150 MB. */
const threadsMax = 4;

export interface LayerThreads extends Disposable {
  readonly run: RunLayerJob;
}

export function startLayerThreads(onCrash: (error: AppError) => void): LayerThreads {
  const reports = new Map<number, (bytes: number) => void>();
  let jobs = 0;
  const pool = new WorkerPool({
    threadsMax: Math.min(availableParallelism(), threadsMax),
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
