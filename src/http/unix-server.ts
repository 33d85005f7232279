/** A hono app on a Unix socket that only its owner may connect to. */
import type { Hono } from "hono";
import { mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { AppError } from "../errors.ts";
import { makeRoomForSocket, socketPathBytesMax } from "../rpc/socket.ts";

/** Whoever can connect has the rights of the process. */
const socketUmask = 0o177;

/**
 * Serves from when it resolves; disposing ends it, and cuts off what is under way.
 *
 * Rejects with `failed_precondition` where another process listens on the socket or something that
 * is no socket has its path, and with `unavailable` where it cannot be made.
 */
export async function serveUnix(app: Hono, socketPath: string): Promise<AsyncDisposable> {
  if (Buffer.byteLength(socketPath) > socketPathBytesMax) {
    const problem = `Socket path "${socketPath}" has more than ${socketPathBytesMax} bytes`;
    throw new AppError("invalid_argument", problem);
  }
  await mkdir(dirname(socketPath), { recursive: true, mode: 0o711 });
  await makeRoomForSocket(socketPath);
  const server = listen(app, socketPath);
  return {
    [Symbol.asyncDispose]: async () => {
      await server.stop(true);
      await rm(socketPath, { force: true });
    },
  };
}

/** The umask is the process's, but nothing else runs between here and the return. */
function listen(app: Hono, unix: string): Bun.Server<undefined> {
  const umask = process.umask(socketUmask);
  try {
    return Bun.serve({ unix, fetch: app.fetch, development: false });
  } catch (cause) {
    throw new AppError("unavailable", `Cannot listen on "${unix}"`, { cause });
  } finally {
    process.umask(umask);
  }
}
