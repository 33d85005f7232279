/** The daemon's log: JSON lines on standard error, where systemd's journal takes them. */
import pino from "pino";
import type { Logger } from "./util/logger.ts";

export const logLevels = ["silent", "fatal", "error", "warn", "info", "debug", "trace"] as const;
export type LogLevel = (typeof logLevels)[number];

/** Synchronous, so that the last line before a crash is there too; pino's transports need files. */
export function createLogger(level: LogLevel): Logger {
  const destination = pino.destination({ fd: 2, sync: true });
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}
