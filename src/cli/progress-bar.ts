/**
 * Shows how a conversion gets on: a bar on a terminal, a line for each layer elsewhere. And the
 * parts of it that others draw with.
 *
 * @module
 */
import type { ConversionEvents, LayerOutcome } from "../convert/events.ts";
import { formatSize } from "../util/bytes.ts";

const barColumns = 30;
/** Often enough for an eye. */
const intervalMs = 100;
/** Back to the first column; what is right of the cursor goes (ECMA-48, EL). */
export const clearLine = "\r\u001b[K";

export interface ProgressOutput {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** `[###...] 50 %` */
export function bar(doneBytes: number, totalBytes: number): string {
  const share = Math.min(1, doneBytes / Math.max(1, totalBytes));
  const filled = "#".repeat(Math.round(share * barColumns));
  return `[${filled.padEnd(barColumns, ".")}] ${Math.floor(share * 100)} %`;
}

/** `1:05` for 65 seconds. */
export function formatDuration(durationMs: number): string {
  const seconds = Math.ceil(durationMs / 1000);
  return `${Math.floor(seconds / 60)}:${`${seconds % 60}`.padStart(2, "0")}`;
}

/** How much of lazy content is there; names as in the JSON of the admin API. */
export interface ContentProgress {
  readonly bytes: number;
  readonly present_bytes: number;
  readonly pieces: number;
  readonly present_pieces: number;
  readonly eta_seconds: number | null;
}

/** `5.0 MiB of 12 MiB, 40/96 chunks, 0:07 left` */
export function describeProgress(progress: ContentProgress): string {
  const { bytes, present_bytes: present, pieces, present_pieces: there, eta_seconds } = progress;
  const left = eta_seconds === null ? "" : `, ${formatDuration(1000 * eta_seconds)} left`;
  return `${formatSize(present)} of ${formatSize(bytes)}, ${there}/${pieces} chunks${left}`;
}

export class ConversionProgress implements ConversionEvents {
  readonly #output: ProgressOutput;
  readonly #now: () => number;
  #layers = 0;
  #layersDone = 0;
  #totalBytes = 0;
  #doneBytes = 0;
  #shownMs = Number.NEGATIVE_INFINITY;

  constructor(output: ProgressOutput, now: () => number = () => performance.now()) {
    this.#output = output;
    this.#now = now;
  }

  started(layers: number, sizeBytes: number): void {
    this.#layers = layers;
    this.#totalBytes = sizeBytes;
    this.#show();
  }

  progressed(sizeBytes: number): void {
    this.#doneBytes += sizeBytes;
    if (this.#now() - this.#shownMs >= intervalMs) this.#show();
  }

  layerDone(outcome: LayerOutcome): void {
    this.#layersDone += 1;
    const { digest, sizeBytes, convertedBytes, keptBecause } = outcome;
    if (keptBecause !== undefined) {
      this.#doneBytes += sizeBytes;
      this.#line(`${digest} stays as it is: ${keptBecause}`);
    } else {
      this.#line(`${digest} ${formatSize(sizeBytes)} -> ${formatSize(convertedBytes)}`);
    }
  }

  leftOut(what: string): void {
    this.#line(`left out: ${what}`);
  }

  /** Takes the bar away. */
  end(): void {
    if (this.#output.isTTY) this.#output.write(clearLine);
  }

  #line(text: string): void {
    if (this.#output.isTTY) this.#output.write(clearLine);
    const count = this.#layers === 0 ? "" : `[${this.#layersDone}/${this.#layers}] `;
    this.#output.write(`${count}${text}\n`);
    this.#show();
  }

  #show(): void {
    if (!this.#output.isTTY) return;
    this.#shownMs = this.#now();
    const done = formatSize(Math.min(this.#doneBytes, this.#totalBytes));
    const layers = `${this.#layersDone}/${this.#layers} layers`;
    const text = `${bar(this.#doneBytes, this.#totalBytes)} ${done}`;
    this.#output.write(`${clearLine}${text} of ${formatSize(this.#totalBytes)}, ${layers}`);
  }
}
