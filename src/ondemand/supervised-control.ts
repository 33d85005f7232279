/**
 * dedupd's control API for those who need it to run: what changes something starts it first, what
 * only asks does not.
 *
 * @module
 */
import { ControlClient, type ControlCall } from "./control-client.ts";
import type { Prefetching, PrefetchRequest } from "./control.ts";
import type { Supervisor } from "./supervisor.ts";

/** Of a start, with all packs opened again. */
const startTimeoutMs = 20_000;

export class SupervisedControl extends ControlClient {
  readonly #supervisor: Pick<Supervisor, "start" | "running">;

  constructor(socketPath: string, supervisor: Pick<Supervisor, "start" | "running">) {
    super(socketPath);
    this.#supervisor = supervisor;
  }

  override async expose(packId: number, call: ControlCall = {}): Promise<string> {
    await this.#ensure(call);
    return super.expose(packId, call);
  }

  override async withdraw(packId: number, call: ControlCall = {}): Promise<void> {
    await this.#ensure(call);
    return super.withdraw(packId, call);
  }

  override async prefetch(
    packId: number,
    body: PrefetchRequest,
    call: ControlCall = {},
  ): Promise<Prefetching> {
    await this.#ensure(call);
    return super.prefetch(packId, body, call);
  }

  #ensure({ timeoutMs = startTimeoutMs }: ControlCall): Promise<void> {
    this.#supervisor.start();
    return this.#supervisor.running(timeoutMs);
  }
}
