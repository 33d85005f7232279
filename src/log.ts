/**
 * The daemon's log: JSON lines on standard error, where systemd's journal takes them.
 *
 * @module
 */
import { writeSync } from "node:fs";
import pino from "pino";
import type { Logger } from "./util/logger.ts";

export const logLevels = ["silent", "fatal", "error", "warn", "info", "debug", "trace"] as const;
export type LogLevel = (typeof logLevels)[number];

const standardError = 2;
/** Whoever reads a pipe or socket of ours may be slow; then it is waited for, but not for long. */
const busyCodes: ReadonlySet<unknown> = new Set(["EAGAIN", "EINTR"]);
const busyWaitMs = 5;
const busyWaitsMax = 20;

/**
 * Writes at once, so that the last line before a crash is there too. What cannot be written, as on
 * a full disk or to a pipe that nobody reads, is dropped: the daemon goes on without it, and says
 * how many lines are missing as soon as it can.
 */
export class LogOutput {
  readonly #fd: number;
  #dropped = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(line: string): void {
    if (this.#dropped > 0 && this.#tryWrite(droppedLine(this.#dropped), 0)) this.#dropped = 0;
    if (this.#dropped > 0 || !this.#tryWrite(line, busyWaitsMax)) this.#dropped += 1;
  }

  /** False where not all of it was written. */
  #tryWrite(text: string, waitsMax: number): boolean {
    let rest: Uint8Array = Buffer.from(text);
    let waits = 0;
    while (rest.length > 0) {
      try {
        rest = rest.subarray(writeSync(this.#fd, rest));
      } catch (error) {
        if (!busyCodes.has((error as NodeJS.ErrnoException).code)) return false;
        if (waits++ === waitsMax) return false;
        Bun.sleepSync(busyWaitMs);
      }
    }
    return true;
  }
}

/** On a line of its own: the last one may have been written in part. */
function droppedLine(count: number): string {
  const time = new Date().toISOString();
  const msg = "log lines before this one could not be written";
  return `\n${JSON.stringify({ level: pino.levels.values["error"], time, dropped: count, msg })}\n`;
}

export function createLogger(level: LogLevel): Logger {
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  return pino(options, new LogOutput(standardError));
}
