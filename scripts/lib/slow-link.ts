/**
 * A link to a server of this machine that is as slow as one to somewhere else: TCP connections are
 * forwarded with a rate all of them share and a round trip time.
 *
 * @module
 */
import { connect, createServer, type Server, type Socket } from "node:net";

export interface LinkSpeed {
  /** Of what the server sends, headers included; undefined: as fast as it goes. */
  readonly bitsPerSecond: number | undefined;
  readonly roundTripMs: number;
}

/** More is read from the server only when so much or less waits to be sent on. */
const queuedBytesMax = 256 * 1024;

export class SlowLink implements AsyncDisposable {
  /** `host:port` of this end. */
  readonly address: string;
  /** Sent to clients so far. */
  sentBytes = 0;
  readonly #server: Server;
  readonly #speed: LinkSpeed;
  readonly #sockets = new Set<Socket>();
  /** When all that was put on the link has left it. */
  #freeAtMs = 0;

  private constructor(server: Server, speed: LinkSpeed, address: string) {
    this.#server = server;
    this.#speed = speed;
    this.address = address;
  }

  /** @param target `host:port` of the server */
  static async open(target: string, speed: LinkSpeed): Promise<SlowLink> {
    const [host = "", port = ""] = target.split(":");
    const server = createServer({ noDelay: true });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const listening = server.address();
    if (listening === null || typeof listening === "string") throw new Error("no TCP address");
    const link = new SlowLink(server, speed, `127.0.0.1:${listening.port}`);
    server.on("connection", (client) => link.#serve(client, host, Number(port)));
    return link;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(client: Socket, host: string, port: number): void {
    const upstream = connect({ host, port, noDelay: true });
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => this.#sockets.delete(socket));
    }
    client.on("close", () => upstream.destroy());
    // Without an error, what it has sent is still on its way.
    upstream.on("close", (hasFailed) => hasFailed && client.destroy());
    const { roundTripMs } = this.#speed;
    // The handshake of a real link takes a round trip of its own.
    const openAtMs = performance.now() + roundTripMs;
    forwardLate(client, upstream, (_, nowMs) => Math.max(nowMs, openAtMs) + roundTripMs / 2);
    forwardLate(upstream, client, (sizeBytes, nowMs) => {
      this.sentBytes += sizeBytes;
      return this.#leave(sizeBytes, nowMs) + roundTripMs / 2;
    });
  }

  /** When the last of so many bytes has left the link. */
  #leave(sizeBytes: number, nowMs: number): number {
    const { bitsPerSecond } = this.#speed;
    const takesMs = bitsPerSecond === undefined ? 0 : (sizeBytes * 8000) / bitsPerSecond;
    this.#freeAtMs = Math.max(nowMs, this.#freeAtMs) + takesMs;
    return this.#freeAtMs;
  }
}

/** @param arrivesAtMs when so many bytes, read now, arrive; never before those read earlier */
function forwardLate(
  from: Socket,
  to: Socket,
  arrivesAtMs: (sizeBytes: number, nowMs: number) => number,
): void {
  const queue: Uint8Array[] = [];
  let queuedBytes = 0;
  // Timers of about the same time may swap; what they write is in order.
  const sendNext = (): void => {
    const bytes = queue.shift();
    if (bytes === undefined) to.end();
    else to.write(bytes);
    queuedBytes -= bytes?.length ?? 0;
    if (queuedBytes <= queuedBytesMax) from.resume();
  };
  from.on("data", (bytes: Buffer) => {
    queue.push(bytes);
    queuedBytes += bytes.length;
    if (queuedBytes > queuedBytesMax) from.pause();
    const nowMs = performance.now();
    setTimeout(sendNext, arrivesAtMs(bytes.length, nowMs) - nowMs);
  });
  from.on("end", () => {
    const nowMs = performance.now();
    setTimeout(sendNext, arrivesAtMs(0, nowMs) - nowMs);
  });
}
