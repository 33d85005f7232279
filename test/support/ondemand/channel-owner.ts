/**
 * A stand-in for dedupd: takes over the channel from the keeper, or opens it where the keeper has
 * none, gives it to the keeper, says so in a line, and waits to be killed.
 *
 * Parameters: the keeper's socket, the FIFO.
 */
import { constants, openSync } from "node:fs";
import { createLogger } from "../../../src/log.ts";
import { KeeperClient } from "../../../src/ondemand/keeper-client.ts";
import { keeperStarter } from "../../../src/ondemand/own-process.ts";

const [socketPath = "", path = ""] = process.argv.slice(2);
const log = createLogger("silent");
const keeper = new KeeperClient({ socketPath, start: keeperStarter(socketPath), log });
const adopted = await keeper.adopt("fifo");
await keeper.keep("fifo", adopted ?? openSync(path, constants.O_WRONLY));
process.stdout.write(adopted === undefined ? "opened\n" : "adopted\n");
