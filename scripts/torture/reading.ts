/**
 * A reader in a process of its own, for what waits for dedupd must not keep its adversary from
 * acting: it reads what it is told to, and says what came of it. Ends with who started it.
 */
import { mkdirSync } from "node:fs";
import { describeError } from "../../src/errors.ts";
import { type ReadTask, readIn, type Way } from "./ways.ts";

export interface ReadOrder {
  readonly way: Way;
  readonly task: ReadTask;
}

/** Empty where all was right. */
export interface ReadOutcome {
  readonly problem: string;
}

function outcomeOf({ way, task }: ReadOrder): ReadOutcome {
  try {
    mkdirSync(task.scratch, { recursive: true });
    return { problem: readIn(way, task) ? "" : "wrong bytes" };
  } catch (error) {
    return { problem: `an error: ${describeError(error)}` };
  }
}

if (import.meta.main) {
  process.on("disconnect", () => process.exit());
  process.on("message", (order: ReadOrder) => process.send?.(outcomeOf(order)));
}
