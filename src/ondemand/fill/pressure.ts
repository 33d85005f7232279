/**
 * How much the machine is stalled (Documentation/accounting/psi.rst).
 *
 * @module
 */
import { readFileSync } from "node:fs";
import type { Clock } from "../../registry/clock.ts";

/** In percent of the last ten seconds: some task waited for it. */
export interface Pressure {
  readonly memory: number;
  readonly io: number;
}

const freshMs = 2_000;

/** Looked up every two seconds at most; 0 where the kernel does not tell. */
export function pressureReader(clock: Clock, folder = "/proc/pressure"): () => Pressure {
  let known: Pressure = { memory: 0, io: 0 };
  let knownAtMs = Number.NEGATIVE_INFINITY;
  return () => {
    const nowMs = clock.nowMs();
    if (nowMs - knownAtMs >= freshMs) {
      known = { memory: readAverage(`${folder}/memory`), io: readAverage(`${folder}/io`) };
      knownAtMs = nowMs;
    }
    return known;
  };
}

function readAverage(path: string): number {
  try {
    return Number(/^some avg10=([\d.]+)/.exec(readFileSync(path, "latin1"))?.[1] ?? 0);
  } catch {
    // Kernels without CONFIG_PSI, or with it turned off: reading it is EOPNOTSUPP.
    return 0;
  }
}
