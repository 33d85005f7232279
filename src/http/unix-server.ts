/** A hono app on a Unix socket that only its owner may connect to. */
import type { Hono } from "hono";
import { AppError } from "../errors.ts";
import { takeSocketPath } from "../ondemand/single-socket.ts";

/** Whoever can connect has the rights of the process. */
const socketUmask = 0o177;

/** Callers decide how long to wait. The types of Bun do not know that Unix sockets have it too. */
const withoutTimeout = { idleTimeout: 0 };

/**
 * Takes the path of a socket from all other processes until it is disposed.
 *
 * @throws AppError `failed_precondition` where another process has the socket or something that is
 *   no socket has its path
 */
export function requireSocketPath(socketPath: string): Disposable {
  const taken = takeSocketPath(socketPath);
  if (taken !== undefined) return taken;
  throw new AppError("failed_precondition", `Another process listens on "${socketPath}"`, {
    remedy: "stop the other process, or configure another address",
  });
}

/**
 * Serves on a path that was taken, from when it returns until it is disposed, which cuts off what
 * is under way.
 *
 * @throws AppError `unavailable` where the socket cannot be made
 */
export function serveUnix(app: Hono, socketPath: string): AsyncDisposable {
  // The umask is the process's, but nothing else runs between here and the return.
  const umask = process.umask(socketUmask);
  try {
    const options = { unix: socketPath, fetch: app.fetch, development: false } as const;
    const server = Bun.serve({ ...options, ...(withoutTimeout as object) });
    return { [Symbol.asyncDispose]: () => server.stop(true) };
  } catch (cause) {
    throw new AppError("unavailable", `Cannot listen on "${socketPath}"`, { cause });
  } finally {
    process.umask(umask);
  }
}
