/** The process of a reader, as its adversary's side sees it. */
import { join } from "node:path";
import type { ReadOrder, ReadOutcome } from "./reading.ts";

export class ReaderProcess {
  readonly #scratch: string;
  #child: Bun.Subprocess | undefined;
  #outcome = Promise.withResolvers<ReadOutcome>();

  /** @param scratch named to the process, so that it is found if it is left behind */
  constructor(scratch: string) {
    this.#scratch = scratch;
  }

  /** @param hungMs a read that takes longer waits for something that will not come */
  async read(order: ReadOrder, hungMs: number): Promise<ReadOutcome> {
    this.#outcome = Promise.withResolvers();
    this.#child ??= this.#start();
    this.#child.send(order);
    const timer = setTimeout(() => this.#outcome.resolve({ problem: "hangs" }), hungMs);
    const outcome = await this.#outcome.promise;
    clearTimeout(timer);
    if (outcome.problem === "hangs") await this.end();
    return outcome;
  }

  /** With what it runs. */
  async end(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return;
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await child.exited;
  }

  #start(): Bun.Subprocess {
    const script = join(import.meta.dir, "reading.ts");
    return Bun.spawn([process.execPath, script, this.#scratch], {
      stdio: ["ignore", "ignore", "inherit"],
      detached: true,
      ipc: (message) => this.#outcome.resolve(message as ReadOutcome),
      // SIGBUS, where a page of a mapped file does not come.
      onExit: (child, code, signal) => {
        if (child !== this.#child) return;
        this.#child = undefined;
        this.#outcome.resolve({ problem: `its process ended: ${signal ?? code}` });
      },
    });
  }
}
