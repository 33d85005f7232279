/**
 * As much of `serve` as keeps lazy layers served, in a process to be killed: it looks after dedupd
 * and the keeper.
 *
 * Parameters: packs to have exposed; dedupd remembers them then. The configuration is that of the
 * environment.
 */
import { loadConfig } from "../../src/config/load.ts";
import { createLogger } from "../../src/log.ts";
import { openSupervisor } from "../../src/ondemand/open-supervisor.ts";

const config = loadConfig(process.env);
const supervisor = openSupervisor(config, false, createLogger(config.log_level));
await supervisor.begin();

for (const packId of process.argv.slice(2)) await supervisor.control.expose(Number(packId));
