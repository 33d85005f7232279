/**
 * How many requests may be on their way to one server.
 *
 * @module
 */

/** Gives the place back; further calls do nothing. */
export type Release = () => void;

interface Queue {
  used: number;
  readonly waiting: Set<() => void>;
}

/** First come, first served, for each server. */
export class Slots {
  readonly #perServer: number;
  readonly #queues = new Map<string, Queue>();

  constructor(perServer: number) {
    this.#perServer = perServer;
  }

  /** Rejects with the signal's reason if it is aborted before there is a place. */
  async take(server: string, signal?: AbortSignal): Promise<Release> {
    signal?.throwIfAborted();
    const queue = this.#queueOf(server);
    if (queue.used < this.#perServer) queue.used++;
    else await this.#wait(queue, signal);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#release(server, queue);
    };
  }

  #queueOf(server: string): Queue {
    const known = this.#queues.get(server);
    if (known !== undefined) return known;
    const queue = { used: 0, waiting: new Set<() => void>() };
    this.#queues.set(server, queue);
    return queue;
  }

  #wait(queue: Queue, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        queue.waiting.delete(enter);
        reject(signal?.reason as Error);
      };
      const enter = () => {
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      queue.waiting.add(enter);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }

  /** The place goes to who waits longest; `used` stays as it is then. */
  #release(server: string, queue: Queue): void {
    const [next] = queue.waiting;
    if (next !== undefined) {
      queue.waiting.delete(next);
      return next();
    }
    queue.used--;
    if (queue.used === 0) this.#queues.delete(server);
  }
}
