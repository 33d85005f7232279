/**
 * dedupd's control API for those who need it to run: what changes something starts it first, what
 * only asks does not.
 *
 * @module
 */
import { ControlClient, type ControlCall } from "./control-client.ts";
import type { ImageTrace, Prefetching, PrefetchRequest, TraceStored } from "./control.ts";
import type { Supervisor } from "./supervisor.ts";

/** Of a start, with all packs opened again. */
const startTimeoutMs = 20_000;

export class SupervisedControl extends ControlClient {
  readonly #supervisor: Pick<Supervisor, "start" | "running">;

  constructor(socketPath: string, supervisor: Pick<Supervisor, "start" | "running">) {
    super(socketPath);
    this.#supervisor = supervisor;
  }

  override expectUse(): void {
    this.#supervisor.start();
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

  /** One that does not run has nothing to record, but may have recorded it earlier. */
  override async trace(image: string, call: ControlCall = {}): Promise<ImageTrace> {
    await this.#ensure(call);
    return super.trace(image, call);
  }

  override async putTrace(
    image: string,
    body: ImageTrace,
    call: ControlCall = {},
  ): Promise<TraceStored> {
    await this.#ensure(call);
    return super.putTrace(image, body, call);
  }

  #ensure({ timeoutMs = startTimeoutMs }: ControlCall): Promise<void> {
    this.#supervisor.start();
    return this.#supervisor.running(timeoutMs);
  }
}
