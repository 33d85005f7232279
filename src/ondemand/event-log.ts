/**
 * What happened to packs, for whoever asks, now or within the next half minute.
 *
 * @module
 */
import { type DedupdEvent, type DedupdEvents, eventWaitMs } from "./control.ts";

const eventsKept = 1000;
/** Of one process; so those of the next have higher numbers. */
const numbersPerMs = 1000;

export class EventLog {
  readonly #events: DedupdEvent[] = [];
  readonly #waiting = new Set<() => void>();
  #last = Date.now() * numbersPerMs;

  add(event: Omit<DedupdEvent, "number" | "timeMs">): void {
    this.#last += 1;
    this.#events.push({ number: this.#last, timeMs: Date.now(), ...event });
    if (this.#events.length > eventsKept) this.#events.shift();
    for (const wake of this.#waiting) wake();
  }

  /** Those after a number; waits for one, at most `eventWaitMs`. */
  async after(number: number): Promise<DedupdEvents> {
    // A number of a process whose clock was ahead of ours.
    const from = number > this.#last ? 0 : number;
    if (!this.#events.some((event) => event.number > from)) await this.#nextEvent();
    return { events: this.#events.filter((event) => event.number > from), last: this.#last };
  }

  /** Nobody waits any more. */
  close(): void {
    for (const wake of this.#waiting) wake();
  }

  #nextEvent(): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, eventWaitMs);
      this.#waiting.add(wake);
    });
  }
}
