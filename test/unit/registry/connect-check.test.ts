import { describe, expect, test } from "bun:test";
import { ConnectCheck, connectOnce, type Connect } from "../../../src/registry/connect-check.ts";
import { defaultLimits } from "../../../src/registry/limits.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { LyingServer } from "../../support/lying-registry.ts";
import { rejection } from "../../support/rejection.ts";

const subject = { host: "registry.test", reference: "registry.test/app:1" };
const { signal } = new AbortController();

function checkWith(connect: Connect | undefined) {
  const clock = new FakeClock();
  const check = new ConnectCheck({ clock, limits: defaultLimits, connect });
  const run = (url: string, address?: string) =>
    check.check(new URL(url), address, subject, signal);
  return { clock, run };
}

/** As a network that drops what is sent. */
function connectNever(_host: string, _port: number, abort: AbortSignal): Promise<void> {
  return new Promise((_, reject) => {
    abort.addEventListener("abort", () => reject(abort.reason as Error));
  });
}

describe("ConnectCheck", () => {
  test("leaves a server soon that takes no connection", async () => {
    const { clock, run } = checkWith(connectNever);
    const checking = run("https://a.test/");
    clock.advance(defaultLimits.connectTimeoutMs);
    expect(await rejection(checking)).toMatchObject({
      code: "unavailable",
      problem: "cannot be connected to within 5000 ms",
    });
  });

  test("connects to the port and address of the request, once a while", async () => {
    const asked: string[] = [];
    const { clock, run } = checkWith(async (host, port) => void asked.push(`${host} ${port}`));
    await run("https://a.test/x");
    await run("https://a.test/y");
    await run("http://b.test/", "192.0.2.1");
    await run("http://[::1]:5000/");
    clock.advance(60_000);
    await run("https://a.test/x");
    expect(asked).toEqual(["a.test 443", "192.0.2.1 80", "::1 5000", "a.test 443"]);
  });

  test("leaves it to a proxy", async () => {
    await checkWith(undefined).run("https://nowhere.invalid/");
  });
});

describe("connectOnce()", () => {
  test("tells who listens from who does not", async () => {
    await using server = new LyingServer(() => new Response());
    const port = Number(server.authority.split(":")[1]);
    await connectOnce("127.0.0.1", port, signal);
    await server[Symbol.asyncDispose]();
    expect(await rejection(connectOnce("127.0.0.1", port, signal))).toMatchObject({
      code: "ECONNREFUSED",
    });
  });
});
