/**
 * A registry that answers as a test says, wrong in every way HTTP allows.
 *
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { createRegistryClient, type RegistryClientOptions } from "../../src/registry/client.ts";
import type { RegistryClient } from "../../src/registry/contract.ts";
import { FakeClock } from "./fake-clock.ts";

export type Answer = (request: Request, url: URL) => Response | Promise<Response>;

/** A server on the loopback interface; what it was asked is kept. */
export class LyingServer implements AsyncDisposable {
  readonly #server: Bun.Server<undefined>;
  answer: Answer;
  /** `GET /v2/…`, without the query. */
  readonly asked: string[] = [];
  readonly requests: { readonly url: string; readonly headers: Headers }[] = [];

  constructor(answer: Answer) {
    this.answer = answer;
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      idleTimeout: 0,
      fetch: (request) => {
        const url = new URL(request.url);
        this.asked.push(`${request.method} ${url.pathname}`);
        // The headers of a request are gone when it has been answered.
        this.requests.push({ url: request.url, headers: new Headers(request.headers) });
        return this.answer(request, url);
      },
    });
  }

  get authority(): string {
    return `127.0.0.1:${this.#server.port}`;
  }

  get origin(): string {
    return `http://${this.authority}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }
}

/** A server that sends the beginning of a body, and closes the connection when it is told to. */
export class BreakingServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(sizeBytes: number, beginning: Uint8Array): Promise<BreakingServer> {
    const server = createServer();
    const breaking = new BreakingServer(server);
    server.on("connection", (socket) => {
      breaking.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${sizeBytes}\r\n\r\n`);
        socket.write(beginning);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return breaking;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  breakOff(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.breakOff();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** The host under which the tests' images are; hosts.toml says which servers that is. */
export const testHost = "registry.test";

/** Delays of pauses in tests are far below those of time-outs. */
const pauseMsMax = 1000;

/** A client whose hosts.toml and config.json a test writes, in a folder of its own. */
export class ClientFixture implements Disposable {
  readonly #folder = scratchFolder("registry");
  readonly clock = new FakeClock((delayMs) => delayMs <= pauseMsMax);
  readonly client: RegistryClient;

  constructor(options: RegistryClientOptions = {}) {
    this.client = createRegistryClient({
      hostsFolder: join(this.#folder.path, "certs.d"),
      dockerConfigFile: join(this.#folder.path, "config.json"),
      clock: this.clock,
      ...options,
    });
  }

  get path(): string {
    return this.#folder.path;
  }

  writeHosts(content: string, host = testHost): this {
    const folder = join(this.#folder.path, "certs.d", host);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "hosts.toml"), content);
    return this;
  }

  /** Mirrors in their order, the last of them the registry itself. */
  withServers(...servers: readonly { readonly origin: string }[]): this {
    const mirrors = servers.slice(0, -1).map(({ origin }) => `[host."${origin}"]`);
    return this.writeHosts([`server = "${servers.at(-1)?.origin}"`, ...mirrors].join("\n"));
  }

  withLogin(authority: string, username: string, password: string): this {
    const auth = Buffer.from(`${username}:${password}`).toString("base64");
    return this.writeConfig({ auths: { [authority]: { auth } } });
  }

  writeConfig(config: object): this {
    writeFileSync(join(this.#folder.path, "config.json"), JSON.stringify(config));
    return this;
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}
