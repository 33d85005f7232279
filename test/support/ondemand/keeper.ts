/** A client of the keeper, which starts one where there is none. */
import { createLogger } from "../../../src/log.ts";
import { KeeperClient } from "../../../src/ondemand/keeper-client.ts";
import { keeperStarter } from "../../../src/ondemand/own-process.ts";

export function openKeeperClient(socketPath: string): KeeperClient {
  const log = createLogger("silent");
  return new KeeperClient({ socketPath, start: keeperStarter(socketPath), expected: [], log });
}
