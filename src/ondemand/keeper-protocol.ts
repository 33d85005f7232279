/**
 * What is said between the keeper and those who give it channels: one JSON object a line, over a
 * Unix socket, answers in the order of the requests.
 *
 * Descriptors do not travel on the socket: who gets one takes a duplicate out of the other process
 * (pidfd_getfd), by its number there. So that a number never means another file, because its owner
 * ended in that moment, what the file is (`target`) is said with it and compared.
 *
 * Checked by hand, because the keeper holds no more code than it needs.
 *
 * @module
 */
import { readlinkSync } from "node:fs";
import { AppError } from "../errors.ts";

/** A descriptor of the process that names it. */
export interface Channel {
  readonly name: string;
  readonly fd: number;
  /** As /proc shows it: `/dev/fuse`, `anon_inode:[fanotify]`. */
  readonly target: string;
}

export type KeeperRequest =
  /** Take a duplicate, in the place of the one of that name; or only if there is none. */
  | ({ readonly do: "keep" | "restore"; readonly pid: number } & Channel)
  | { readonly do: "list" }
  /** End, and with it close all channels. */
  | { readonly do: "shutdown" };

/** All requests are answered with what the keeper holds then, or with why not. */
export type KeeperAnswer =
  { readonly pid: number; readonly channels: readonly Channel[] } | { readonly error: string };

/** A channel for each backend, and room for others. */
export const channelsMax = 16;
/** Of a line; all channels with names and targets of usual length fit in it. */
export const lineBytesMax = 16_384;
const targetLengthMax = 255;

/** Also a name for systemd's fd store, which has no colon in it. */
const namePattern = /^[a-z][a-z0-9_-]{0,31}$/;

/** @throws AppError `invalid_argument` */
export function parseRequest(line: string): KeeperRequest {
  const value = parseObject(line);
  if (value["do"] === "list" || value["do"] === "shutdown") return { do: value["do"] };
  const task = value["do"];
  const isKnown = task === "keep" || task === "restore";
  if (!isKnown || !isChannel(value) || !isCount(value["pid"])) {
    throw new AppError("invalid_argument", `The keeper does not understand ${line}`);
  }
  const { name, fd, target } = value;
  return { do: task, pid: value["pid"], name, fd, target };
}

/** @throws AppError `internal` for an answer that is none, or that says why not */
export function parseAnswer(line: string): { pid: number; channels: readonly Channel[] } {
  const value = parseObject(line);
  if (typeof value["error"] === "string") throw new AppError("internal", value["error"]);
  const { pid, channels } = value;
  if (!isCount(pid) || !Array.isArray(channels) || !channels.every(isChannel)) {
    throw new AppError("internal", `The keeper answered ${line}`);
  }
  return { pid, channels };
}

function parseObject(line: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new AppError("invalid_argument", "A line to or from the keeper is not JSON", {
      cause: error,
    });
  }
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function isChannel(value: unknown): value is Channel {
  const { name, fd, target } = (value ?? {}) as Partial<Record<keyof Channel, unknown>>;
  return (
    typeof name === "string" &&
    namePattern.test(name) &&
    isCount(fd) &&
    typeof target === "string" &&
    target.length <= targetLengthMax
  );
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) < 2 ** 31;
}

/** What an open file of this process is, in the words of /proc. */
export function targetOf(fd: number): string {
  return readlinkSync(`/proc/self/fd/${fd}`);
}

/** Cuts what arrives into lines. */
export class LineBuffer {
  #rest = "";

  /** The lines that are whole now. Throws `AppError` for a line longer than the limit. */
  push(bytes: Uint8Array): string[] {
    const lines = (this.#rest + Buffer.from(bytes).toString()).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > lineBytesMax) {
      throw new AppError("invalid_argument", `A line has more than ${lineBytesMax} bytes`);
    }
    return lines;
  }
}
