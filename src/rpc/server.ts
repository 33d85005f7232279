/** The gRPC server on its Unix socket: start, and an end that lets calls finish. */
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { AppError } from "../errors.ts";
import type { SnapshotService } from "../snapshot/contract.ts";
import type { Logger } from "../util/logger.ts";
import { diffHandlers, type DiffHandlerOptions } from "./diff.ts";
import { DiffService } from "./gen/containerd/services/diff/v1/diff.ts";
import { SnapshotsService } from "./gen/containerd/services/snapshots/v1/snapshots.ts";
import { messageBytesMax } from "./limits.ts";
import { snapshotHandlers } from "./snapshots.ts";
import { makeRoomForSocket, socketPathBytesMax } from "./socket.ts";

/** Only the owner may connect: whoever can, has the rights of the daemon. */
const socketUmask = 0o177;

export interface RpcServerOptions {
  /** Absolute; its folder is made where it is missing. */
  readonly socketPath: string;
  readonly snapshots: SnapshotService;
  readonly diff: Omit<DiffHandlerOptions, "log">;
  readonly log: Logger;
}

export class RpcServer {
  readonly #server: Server;
  readonly #log: Logger;

  private constructor(server: Server, log: Logger) {
    this.#server = server;
    this.#log = log;
  }

  /**
   * Serves from when it resolves. Rejects with `failed_precondition` where another process listens
   * on the socket or something that is no socket has its path, and with `unavailable` where the
   * socket cannot be made.
   */
  static async start({ socketPath, snapshots, diff, log }: RpcServerOptions): Promise<RpcServer> {
    if (Buffer.byteLength(socketPath) > socketPathBytesMax) {
      const problem = `Socket path "${socketPath}" has more than ${socketPathBytesMax} bytes`;
      throw new AppError("invalid_argument", problem);
    }
    const server = new Server({
      "grpc.max_receive_message_length": messageBytesMax,
      "grpc.max_send_message_length": messageBytesMax,
    });
    server.addService(SnapshotsService, snapshotHandlers(snapshots, log));
    server.addService(DiffService, diffHandlers({ ...diff, log }));
    await mkdir(dirname(socketPath), { recursive: true, mode: 0o711 });
    await makeRoomForSocket(socketPath);
    await bind(server, socketPath);
    return new RpcServer(server, log);
  }

  /**
   * Takes no more calls and waits for those under way; after `timeoutMs` they are cut off. The
   * socket is gone when it resolves.
   */
  stop(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#log.warn({ timeoutMs }, "cutting off calls that are still under way");
        this.#server.forceShutdown();
        resolve();
      }, timeoutMs);
      this.#server.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

/** The umask is the process's, but nothing else runs between here and listen(2) and its return. */
async function bind(server: Server, socketPath: string): Promise<void> {
  const umask = process.umask(socketUmask);
  try {
    await new Promise<void>((resolve, reject) => {
      const credentials = ServerCredentials.createInsecure();
      server.bindAsync(`unix:${socketPath}`, credentials, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  } catch (error) {
    throw new AppError("unavailable", `Cannot listen on "${socketPath}"`, { cause: error });
  } finally {
    process.umask(umask);
  }
}
