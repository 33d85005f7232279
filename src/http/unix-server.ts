/** A hono app on a Unix socket that only its owner may connect to. */
import type { Hono } from "hono";
import { AppError } from "../errors.ts";
import { takeSocketPath } from "../ondemand/single-socket.ts";

/** Whoever can connect has the rights of the process. */
const socketUmask = 0o177;

/** Callers decide how long to wait. The types of Bun do not know that Unix sockets have it too. */
const withoutTimeout = { idleTimeout: 0 };

export interface UnixServer extends AsyncDisposable {
  /** Cuts off what is under way; the socket is nobody else's until it is disposed of. */
  stop(): Promise<void>;
}

/**
 * Serves from when it returns; disposing stops it and leaves the socket to the next process.
 *
 * @throws AppError `failed_precondition` where another process has the socket or something that is
 *   no socket has its path, `unavailable` where it cannot be made
 */
export function serveUnix(app: Hono, socketPath: string): UnixServer {
  const taken = takeSocketPath(socketPath);
  if (taken === undefined) {
    throw new AppError("failed_precondition", `Another process listens on "${socketPath}"`, {
      remedy: "stop the other process, or configure another address",
    });
  }
  // The umask is the process's, but nothing else runs between here and the return.
  const umask = process.umask(socketUmask);
  let server: Bun.Server<undefined>;
  try {
    const options = { unix: socketPath, fetch: app.fetch, development: false } as const;
    server = Bun.serve({ ...options, ...(withoutTimeout as object) });
  } catch (cause) {
    taken[Symbol.dispose]();
    throw new AppError("unavailable", `Cannot listen on "${socketPath}"`, { cause });
  } finally {
    process.umask(umask);
  }
  const stop = () => server.stop(true);
  return {
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop();
      taken[Symbol.dispose]();
    },
  };
}
