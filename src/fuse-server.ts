/**
 * The entry of a thread that answers a FUSE file system. It gets one message, and from then on
 * waits in system calls.
 *
 * @module
 */
import { describeError } from "./errors.ts";
import { FuseServer, type ServerOptions } from "./ondemand/fuse/server.ts";
import type { ServerMessage } from "./fuse-servers.ts";

declare const self: Worker;

const post = (message: ServerMessage): void => self.postMessage(message);

self.addEventListener("message", (event: MessageEvent<ServerOptions>) => {
  try {
    const server = new FuseServer(event.data, post);
    post({ kind: "ready" });
    server.run();
    post({ kind: "ended" });
  } catch (error) {
    post({ kind: "ended", reason: describeError(error) });
  }
});
