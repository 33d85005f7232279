import { describe, expect, test } from "bun:test";
import type { DedupdView } from "../../../src/claim/lazy-layers.ts";
import { readinessOf } from "../../../src/claim/readiness.ts";
import { type ApiDependencies, createApp } from "../../../src/http/app.ts";
import type { SuspectPack } from "../../../src/ondemand/contract.ts";

const container = { pid: 42, command: "nginx", cgroup: "cri-containerd-abc.scope" };
const suspect: SuspectPack = { packId: 512, users: [container], staleCachedPages: 3 };

function dedupdWith(suspects: readonly SuspectPack[]): DedupdView {
  const pack = { packId: 512, image: "registry.example/app:1", digest: "sha256:blob" };
  return { dedupd: { suspects }, packs: [pack] } as unknown as DedupdView;
}

async function ask(path: string, dedupd: DedupdView | undefined, mounted: number) {
  const lazy = { readiness: async () => readinessOf(dedupd, mounted) };
  const app = createApp({ lazy } as unknown as ApiDependencies);
  const answer = await app.request(path);
  const body: unknown = await answer.json();
  return { status: answer.status, body };
}

describe("GET /readyz", () => {
  test("says yes while dedupd is there, or is not needed", async () => {
    const yes = { status: 200, body: { ready: true, reasons: [], suspects: [] } };
    expect(await ask("/readyz", dedupdWith([]), 3)).toEqual(yes);
    expect(await ask("/readyz", undefined, 0)).toEqual(yes);
  });

  test("says no while nobody serves the layers that are mounted", async () => {
    const reasons = ["dedupd is away, and 2 lazy layers are mounted: their reads wait"];
    expect(await ask("/readyz", undefined, 2)).toEqual({
      status: 503,
      body: { ready: false, reasons, suspects: [] },
    });
  });

  test("says no while a pack cannot be exposed again", async () => {
    const unserved = [{ packId: 512, reason: "Cannot map it" }];
    const view = { dedupd: { suspects: [], unserved }, packs: [] } as unknown as DedupdView;
    const { status, body } = await ask("/readyz", view, 1);
    expect(status).toBe(503);
    expect(body).toMatchObject({
      ready: false,
      reasons: ["lazy pack 512 cannot be exposed again, its reads wait or fail: Cannot map it"],
    });
  });

  test("names the containers that may have read zeros", async () => {
    const { status, body } = await ask("/readyz", dedupdWith([suspect]), 1);
    expect(status).toBe(503);
    expect(body).toEqual({
      ready: false,
      reasons: [
        "lazy pack 512 of registry.example/app:1: zeros may have been read while nobody watched " +
          "it; restart nginx (cri-containerd-abc.scope, PID 42); 3 pages are still mapped",
      ],
      suspects: [
        {
          pack: 512,
          image: "registry.example/app:1",
          digest: "sha256:blob",
          containers: [container],
          stale_cached_pages: 3,
        },
      ],
    });
  });
});

describe("GET /healthz", () => {
  test("answers whatever lazy layers are like", async () => {
    const { status, body } = await ask("/healthz", undefined, 2);
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: "ok", version: expect.any(String) });
  });
});
