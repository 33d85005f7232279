/**
 * The starts of images as dedupd sees them: what waits is told by the backend at once, what was
 * there is looked up in its log of reads, several times a second while that may matter.
 *
 * @module
 */
import type { Config } from "../../config/schema.ts";
import { type Clock, systemClock } from "../../registry/clock.ts";
import { storePaths } from "../../store/paths.ts";
import type { Logger } from "../../util/logger.ts";
import type { ReadRequest } from "../contract.ts";
import type { ImageTrace, TraceStatus, TraceStored } from "../control.ts";
import type { FillEngine } from "../fill/engine.ts";
import type { FillablePack } from "../fillable-pack.ts";
import type { PieceRead } from "../read-log.ts";
import { sessionMs } from "./recorder.ts";
import { ImageStarts } from "./starts.ts";

const lookMs = 100;
/** After the last read of something missing: longer than any start is recorded. */
const patienceMs = sessionMs + 10_000;

export interface StartsOptions {
  readonly config: Pick<Config, "root" | "lazy">;
  readonly engine: Pick<FillEngine, "filler" | "usefulness" | "policy" | "counts">;
  readonly log: Logger;
  readonly packOf: (packId: number) => FillablePack | undefined;
  /** What was there when it was read first. */
  readonly takeReads: () => Iterable<PieceRead>;
  readonly clock?: Clock;
}

export function openStarts(options: StartsOptions): Starts {
  return new Starts(options);
}

export class Starts {
  readonly #options: StartsOptions;
  readonly #clock: Clock;
  readonly #images: ImageStarts;
  #isWatching = false;
  #lookUntilMs = 0;
  #cancelLook: (() => void) | undefined;

  constructor(options: StartsOptions) {
    this.#options = options;
    const { config, engine, log, clock = systemClock } = options;
    this.#clock = clock;
    const { filler, usefulness, policy, counts } = engine;
    const folder = storePaths(config.root).traces;
    const isOn = config.lazy.trace === "auto";
    const told = { filler, usefulness, policy, counts };
    this.#images = new ImageStarts({ folder, ...told, clock, log, isOn });
  }

  /** A backend serves readers. Not called for one that reads everything itself. */
  begin(): void {
    this.#isWatching = true;
    void this.#images.learnAll();
  }

  /** With all that was read so far. */
  status(): TraceStatus {
    this.#look();
    return this.#images.status;
  }

  exposed(pack: FillablePack, isNew: boolean): void {
    if (!this.#isWatching) return;
    // What was read before is no part of the start to come.
    this.#look();
    this.#images.exposed(pack, isNew);
    this.#keepLooking();
  }

  withdrawn(pack: FillablePack): void {
    this.#look();
    this.#images.withdrawn(pack);
  }

  /** All of the pack is there: from now on nobody tells what is read of it. */
  completed(pack: FillablePack): void {
    this.#look();
    this.#images.completed(pack);
  }

  /** Somebody reads, and may have to wait. */
  demanded(request: ReadRequest): void {
    if (!this.#isWatching) return;
    this.#look();
    const pack = this.#options.packOf(request.packId);
    if (pack !== undefined) this.#images.noteRead(pack, request);
    this.#keepLooking();
  }

  /** Whether a trace says what to fetch of the pack first. */
  knows(packId: number): boolean {
    const pack = this.#options.packOf(packId);
    return this.#isWatching && pack !== undefined && this.#images.knows(pack);
  }

  trace(image: string): ImageTrace {
    this.#look();
    return this.#images.trace(image);
  }

  putTrace(image: string, trace: ImageTrace): TraceStored {
    return this.#images.putTrace(image, trace);
  }

  close(): void {
    this.#look();
    this.#cancelLook?.();
    this.#isWatching = false;
    this.#images.close();
  }

  #look(): void {
    for (const { packId, piece } of this.#options.takeReads()) {
      const pack = this.#options.packOf(packId);
      // The pack of that number may be another one by now.
      if (pack !== undefined && piece < pack.pieces.length) this.#images.notePiece(pack, piece);
    }
  }

  #keepLooking(): void {
    this.#lookUntilMs = this.#clock.nowMs() + patienceMs;
    this.#cancelLook ??= this.#clock.after(lookMs, () => this.#lookAgain());
  }

  #lookAgain(): void {
    this.#cancelLook = undefined;
    this.#look();
    if (this.#clock.nowMs() > this.#lookUntilMs) return;
    this.#cancelLook = this.#clock.after(lookMs, () => this.#lookAgain());
  }
}
