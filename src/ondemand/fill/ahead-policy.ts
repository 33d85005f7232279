/**
 * When and how much may be fetched that nobody waits for.
 *
 * A link has one capacity: what is fetched in the background while a container starts is taken from
 * what it waits for. So the background waits until reads have been quiet for a while, and asks for
 * no more at once than the link carries in a fraction of a second, which is how long a reader may
 * wait behind it.
 *
 * @module
 */
import type { Config } from "../../config/schema.ts";
import type { Clock } from "../../registry/clock.ts";
import { KiB, MiB } from "../../util/bytes.ts";
import { type Priority, priority } from "../contract.ts";
import type { Pressure } from "./pressure.ts";

export type BackgroundMode = Config["lazy"]["background"];

/** `on`: a start reads in bursts, with computing between two. */
const quietMs = 3_000;
/** `idle`: nobody has read anything new for a while. */
const idleQuietMs = 5_000;
/** `on`: even where somebody always reads, the rest comes at some time. */
const patienceMs = 30_000;
/** Shares of time that tasks were stalled, in percent: when the machine has no time for us. */
const memoryPressureMax = 10;
const idleMemoryPressureMax = 2;
const idleIoPressureMax = 20;

const spanBytes = {
  [priority.demand]: [4 * MiB, 4 * MiB],
  [priority.prefetch]: [512 * KiB, 4 * MiB],
  [priority.background]: [256 * KiB, 4 * MiB],
} as const;
/** Of the rate of the link, how many seconds one request may take: a reader may wait behind it. */
const spanSeconds = { [priority.demand]: 1, [priority.prefetch]: 1, [priority.background]: 0.25 };
/** How much the last fetch says about the rate; less, where most of its time was a round trip. */
const rateWeight = 0.2;
const tellingBytes = 512 * KiB;

export interface AheadPolicyOptions {
  readonly clock: Clock;
  readonly background: BackgroundMode;
  /** null: no limit. */
  readonly backgroundBytesPerSecond: number | null;
  readonly pressure: () => Pressure;
}

export class AheadPolicy {
  readonly #options: AheadPolicyOptions;
  #lastDemandMs = Number.NEGATIVE_INFINITY;
  #lastBackgroundMs: number;
  /** When what was fetched so far has taken the time it may take. */
  #freeAtMs = 0;
  #bytesPerSecond = 0;

  constructor(options: AheadPolicyOptions) {
    this.#options = options;
    this.#lastBackgroundMs = options.clock.nowMs();
  }

  /** What the link was seen to carry; 0: nothing was seen yet. */
  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  /** Somebody reads, or is about to. */
  noteDemand(): void {
    this.#lastDemandMs = this.#options.clock.nowMs();
  }

  /** A request for something nobody waits for begins. */
  noteBackground(bytes: number): void {
    const nowMs = this.#options.clock.nowMs();
    this.#lastBackgroundMs = nowMs;
    const rate = this.#options.backgroundBytesPerSecond ?? Number.POSITIVE_INFINITY;
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + (bytes / rate) * 1000;
  }

  noteFetch(bytes: number, durationMs: number): void {
    const rate = (bytes / Math.max(1, durationMs)) * 1000;
    const before = this.#bytesPerSecond === 0 ? rate : this.#bytesPerSecond;
    const weight = rateWeight * Math.min(1, bytes / tellingBytes);
    this.#bytesPerSecond = before + (rate - before) * weight;
  }

  spanBytesMax(level: Priority): number {
    const [min, max] = spanBytes[level];
    return Math.min(max, Math.max(min, this.#bytesPerSecond * spanSeconds[level]));
  }

  /** Why nothing of a priority may be fetched now; undefined where it may. */
  hindrance(level: Priority): string | undefined {
    if (level === priority.demand) return undefined;
    const { memory } = this.#options.pressure();
    if (memory > memoryPressureMax) return `memory is short (${memory} % of the time)`;
    return level === priority.background ? this.#backgroundHindrance() : undefined;
  }

  #backgroundHindrance(): string | undefined {
    const { clock, background, pressure } = this.#options;
    if (background === "off") return "it is turned off";
    const nowMs = clock.nowMs();
    if (nowMs < this.#freeAtMs) return "it has reached its rate";
    const quietForMs = nowMs - this.#lastDemandMs;
    if (background === "on") {
      const isStarved = nowMs - this.#lastBackgroundMs > patienceMs;
      return quietForMs < quietMs && !isStarved ? "content is being read" : undefined;
    }
    const { memory, io } = pressure();
    if (quietForMs < idleQuietMs) return "content is being read";
    if (memory > idleMemoryPressureMax || io > idleIoPressureMax) return "the machine is busy";
    return undefined;
  }
}
