/**
 * As much of dedupd as its supervisor sees: one at a time on its socket, a channel that it takes
 * over, the control API without packs, or with one.
 *
 * SIGUSR1: it answers nobody any more, as one that is told to end, and goes on letting go.
 *
 * Parameters: the socket, the keeper's socket, the FIFO, how many packs are exposed.
 */
import { constants, openSync } from "node:fs";
import { createLogger } from "../../../src/log.ts";
import { openChannelKeeper } from "../../../src/ondemand/channel-keeper.ts";
import type { DedupdStatus } from "../../../src/ondemand/control.ts";
import { takeSocketPath } from "../../../src/ondemand/single-socket.ts";

const [unix = "", socketPath = "", path = "", packs = "0"] = process.argv.slice(2);
if (takeSocketPath(unix) === undefined) process.exit(0);
const log = createLogger("silent");
const { keeper } = await openChannelKeeper({ socketPath, environment: process.env, log });
const adopted = await keeper.adopt("fifo");
await keeper.keep("fifo", adopted ?? openSync(path, constants.O_WRONLY));
const status: Pick<DedupdStatus, "pid" | "version" | "backendReasons"> = {
  pid: process.pid,
  version: "stand-in",
  backendReasons: [adopted === undefined ? "opened" : "adopted"],
};
const server = Bun.serve({
  unix,
  routes: {
    "/status": () => Response.json(status),
    "/packs": () => Response.json(Array.from({ length: Number(packs) })),
    // Nothing ever happens.
    "/events": ({ url }) =>
      url.endsWith("=0")
        ? Response.json({ events: [], last: 1 })
        : Promise.withResolvers<Response>().promise,
  },
});
process.on("SIGUSR1", () => void server.stop(true));
