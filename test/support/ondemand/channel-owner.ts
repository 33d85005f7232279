/**
 * A stand-in for dedupd: takes over the channel from whoever keeps it, or opens it where nobody
 * has one, has it kept, says so in a line, and waits to be killed.
 *
 * Parameters: the keeper's socket, the FIFO; `renew`: opens a new channel in any case.
 */
import { constants, openSync } from "node:fs";
import { createLogger } from "../../../src/log.ts";
import { notifyReady, openChannelKeeper } from "../../../src/ondemand/channel-keeper.ts";

const [socketPath = "", path = "", mode = ""] = process.argv.slice(2);
const log = createLogger("silent");
const { keeper } = await openChannelKeeper({ socketPath, environment: process.env, log });
const adopted = mode === "renew" ? undefined : await keeper.adopt("fifo");
await keeper.keep("fifo", adopted ?? openSync(path, constants.O_WRONLY));
notifyReady(process.env);
process.stdout.write(adopted === undefined ? "opened\n" : "adopted\n");
setInterval(() => {}, 2 ** 30);
