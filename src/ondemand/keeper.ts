/**
 * The keeper: a process that holds a duplicate of each channel to the kernel, and does nothing
 * else.
 *
 * When the last descriptor of a fanotify group closes, the kernel lets all waiting readers go on
 * with zeros; when that of a FUSE connection does, they get errors, and so does every later read.
 * As long as the keeper lives, a dedupd that was killed or is being replaced leaves readers
 * waiting, and its successor takes the channel from here. The code below is all that runs in this
 * process: what it does not do cannot make it fail.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { describeError } from "../errors.ts";
import { type KeeperAnswer, LineBuffer, parseRequest } from "./keeper-protocol.ts";
import { KeptChannels } from "./kept-channels.ts";
import { takeSocketPath } from "./single-socket.ts";

/**
 * Whoever starts a keeper connects as soon as it listens. If that process has ended meanwhile,
 * nobody would ever end the keeper.
 */
const unusedTimeoutMs = 10_000;

/** The socket is for its owner: whoever can connect, can read what the channels carry. */
const ownerOnlyUmask = 0o177;

/**
 * Listens on `socketPath` until it is told to end. Returns at once where a keeper has the socket
 * already: whoever misses the keeper starts one, and one is enough.
 *
 * @throws AppError if it cannot listen
 */
export function runKeeper(socketPath: string): void {
  const taken = takeSocketPath(socketPath);
  if (taken === undefined) return;
  outliveSignals();
  protectFromOom();
  process.chdir("/");
  process.umask(ownerOnlyUmask);
  const channels = new KeptChannels();
  const unused = setTimeout(() => process.exit(0), unusedTimeoutMs);
  Bun.listen<{ readonly lines: LineBuffer }>({
    unix: socketPath,
    socket: {
      open(socket) {
        clearTimeout(unused);
        socket.data = { lines: new LineBuffer() };
      },
      data(socket, bytes) {
        try {
          for (const line of socket.data.lines.push(bytes)) {
            socket.write(`${JSON.stringify(answer(channels, line))}\n`);
          }
        } catch {
          // It sends lines without end, which none of ours does.
          socket.terminate();
        }
      },
      drain() {},
    },
  });
}

function answer(channels: KeptChannels, line: string): KeeperAnswer {
  try {
    const request = parseRequest(line);
    if (request.do === "shutdown") process.exit(0);
    const isWanted =
      request.do === "keep" || (request.do === "restore" && !channels.has(request.name));
    if (isWanted) channels.keep(request.pid, request);
    return { pid: process.pid, channels: channels.list() };
  } catch (error) {
    return { error: describeError(error) };
  }
}

/** Whoever stops the services of a node means those that do something; containers go on. */
function outliveSignals(): void {
  for (const signal of ["SIGINT", "SIGHUP", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (isMachineGoingDown()) process.exit(0);
    });
  }
}

/** PID 1 becomes systemd-shutdown at the very end, and waits 90 s for those that do not go. */
function isMachineGoingDown(): boolean {
  try {
    return readFileSync("/proc/1/comm", "utf8").startsWith("systemd-shutdow");
  } catch {
    return false;
  }
}

/** It is small, so that to kill it would help nobody. Without the right to it, nothing changes. */
function protectFromOom(): void {
  try {
    writeFileSync("/proc/self/oom_score_adj", "-1000");
  } catch {
    return;
  }
}
