/** The admin API on a TCP address, which it leaves in a file for the CLI. */
import type { Hono } from "hono";
import { chmod, rm, writeFile } from "node:fs/promises";
import { AppError, describeError } from "../errors.ts";

export interface ApiServer {
  /** `host:port`, with the port that was chosen. */
  readonly address: string;
  stop(): Promise<void>;
}

/**
 * @param address `host:port`; port 0 picks a free one
 * @param addressFile where the address is written for the CLI to find
 */
export async function startApi(
  app: Hono,
  address: string,
  addressFile: string,
): Promise<ApiServer> {
  const colon = address.lastIndexOf(":");
  const hostname = address.slice(0, colon).replace(/^\[|\]$/g, "");
  const port = Number(address.slice(colon + 1));
  let server: Bun.Server<undefined>;
  try {
    server = Bun.serve({ hostname, port, fetch: app.fetch, development: false });
  } catch (error) {
    throw new AppError("unavailable", `Cannot listen on "${address}": ${describeError(error)}`, {
      cause: error,
      remedy: 'set "api.address" to a free port, to port 0, or to null for no admin API',
    });
  }
  const host = address.slice(0, colon);
  const chosen = `${host}:${server.port}`;
  await writeFile(addressFile, `${chosen}\n`);
  await chmod(addressFile, 0o600);
  return {
    address: chosen,
    stop: async () => {
      await rm(addressFile, { force: true });
      await server.stop(true);
    },
  };
}
