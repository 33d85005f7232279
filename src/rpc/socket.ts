/**
 * The path of a Unix socket before it is bound.
 *
 * A process that was killed leaves its socket behind, and bind(2) refuses a path that exists; but
 * only a connection attempt tells a stale socket from a live one.
 *
 * @module
 */
import { lstat, unlink } from "node:fs/promises";
import { createConnection } from "node:net";
import { AppError } from "../errors.ts";

/** `sun_path` has 108 bytes with the NUL at the end (include/uapi/linux/un.h). */
export const socketPathBytesMax = 107;

/** Unlinks a stale socket. Rejects with `failed_precondition` for anything else at the path. */
export async function makeRoomForSocket(path: string): Promise<void> {
  const status = await lstat(path).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  });
  if (status === undefined) return;
  if (!status.isSocket()) {
    throw new AppError("failed_precondition", `"${path}" is there and is no socket`);
  }
  if (await isStale(path)) {
    await unlink(path);
    return;
  }
  throw new AppError("failed_precondition", `Another process listens on "${path}"`, {
    remedy: "stop the other daemon, or configure another socket",
  });
}

/** Whatever else happens than a refusal, such as a full backlog, somebody may be listening. */
function isStale(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(false);
    });
    socket.once("error", (error) => {
      const code = errorCode(error);
      resolve(code === "ECONNREFUSED" || code === "ENOENT");
    });
  });
}

function errorCode(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
