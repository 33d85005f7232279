/** The service over a real socket with a real client, and with the snapshotter of other tests. */
import { credentials, status, type ServiceError } from "@grpc/grpc-js";
import { describe, expect, test } from "bun:test";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RpcServer } from "../../../src/rpc/server.ts";
import {
  Kind,
  SnapshotsClient,
  type Info,
  type ListSnapshotsResponse,
} from "../../../src/rpc/gen/containerd/services/snapshots/v1/snapshots.ts";
import type { SnapshotInfo, SnapshotService } from "../../../src/snapshot/contract.ts";
import { rejection } from "../../support/rejection.ts";
import { noLabels, TestNode } from "../snapshot/fakes.ts";

type Reply<T> = (error: ServiceError | null, response: T) => void;

const snapshotter = "dedup";
const stopTimeoutMs = 5000;

function ask<T>(send: (reply: Reply<T>) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    send((error, response) => (error === null ? resolve(response) : reject(error)));
  });
}

/** The diff service has tests of its own. */
const nothingHere = () => Promise.reject(new Error("not asked"));
const diff = {
  service: { apply: nothingHere },
  delegate: { apply: nothingHere, diff: nothingHere },
};

class TestServer implements AsyncDisposable {
  readonly node: TestNode;
  readonly socketPath: string;
  readonly client: SnapshotsClient;
  readonly server: RpcServer;

  private constructor(node: TestNode, server: RpcServer, socketPath: string) {
    this.node = node;
    this.server = server;
    this.socketPath = socketPath;
    this.client = new SnapshotsClient(`unix:${socketPath}`, credentials.createInsecure(), {
      "grpc.max_receive_message_length": 16 << 20,
    });
  }

  static async start(changes: Partial<SnapshotService> = {}): Promise<TestServer> {
    const node = new TestNode();
    const socketPath = join(node.root, "run", "grpc.sock");
    const snapshots: SnapshotService = Object.assign(node.snapshotter, changes);
    const server = await RpcServer.start({ socketPath, snapshots, diff, log: node.log });
    return new TestServer(node, server, socketPath);
  }

  stat(key: string): Promise<Info | undefined> {
    return ask<{ info: Info | undefined }>((reply) =>
      this.client.stat({ snapshotter, key }, reply),
    ).then((response) => response.info);
  }

  async list(...filters: string[]): Promise<ListSnapshotsResponse[]> {
    return await Array.fromAsync(this.client.list({ snapshotter, filters }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await this.server.stop(stopTimeoutMs);
    await this.node[Symbol.asyncDispose]();
  }
}

describe("snapshotHandlers()", () => {
  test("carries a snapshot through its life", async () => {
    await using server = await TestServer.start();
    const { client, node } = server;
    const labels = new Map([
      ["__proto__", "own"],
      ["empty", ""],
    ]);
    const prepared = await ask<{ mounts: unknown[] }>((reply) =>
      client.prepare({ snapshotter, key: "k", parent: "", labels }, reply),
    );
    const source = node.upper("k");
    expect(prepared.mounts).toEqual([
      { type: "bind", source, target: "", options: ["rw", "rbind"] },
    ]);
    const info = await server.stat("k");
    expect(info).toMatchObject({ name: "k", parent: "", kind: Kind.ACTIVE });
    expect(info?.labels).toEqual(labels);
    expect(info?.createdAt).toEqual({ seconds: 1_700_000_000n, nanos: 1 });
    const usage = await ask<{ size: bigint; inodes: bigint }>((reply) =>
      client.usage({ snapshotter, key: "k" }, reply),
    );
    expect(usage.inodes).toBe(1n);
    await ask((reply) =>
      client.commit({ snapshotter, name: "c", key: "k", labels: new Map(), parent: "" }, reply),
    );
    const view = { snapshotter, key: "v", parent: "c", labels: new Map<string, string>() };
    const viewed = await ask((reply) => client.view(view, reply));
    const mounts = await ask((reply) => client.mounts({ snapshotter, key: "v" }, reply));
    expect(mounts).toEqual(viewed);
    const updated = await ask<{ info: Info | undefined }>((reply) => {
      const change = { ...(info as Info), name: "v", labels: new Map([["a", "1"]]) };
      client.update({ snapshotter, info: change, updateMask: ["labels.a"] }, reply);
    });
    expect(updated.info?.labels).toEqual(new Map([["a", "1"]]));
    await ask((reply) => client.remove({ snapshotter, key: "v" }, reply));
    await ask((reply) => client.cleanup({ snapshotter }, reply));
    expect(await rejection(server.stat("v"))).toMatchObject({
      code: status.NOT_FOUND,
      details: 'Snapshot "v" does not exist: not found',
    });
  });

  test("answers what nobody caught without a stack, and logs it with one", async () => {
    await using server = await TestServer.start({
      stat: () => {
        throw new TypeError("broken invariant");
      },
    });
    expect(await rejection(server.stat("k"))).toMatchObject({
      code: status.INTERNAL,
      details: "broken invariant: internal",
    });
    const line = server.node.log.lines.find(({ level }) => level === "error");
    expect(line?.fields).toMatchObject({ rpc: "Stat", stack: expect.stringContaining(".ts:") });
  });
});

function entry(id: number, labelBytes: number): SnapshotInfo {
  const labels = new Map([["l", "x".repeat(labelBytes)]]);
  const times = { createdNs: 0n, updatedNs: 0n };
  return { id, name: `n${id}`, parent: "", kind: "committed", ...times, labels };
}

describe("List", () => {
  test("sends what filters match, and rejects bad ones", async () => {
    await using server = await TestServer.start();
    await server.node.layer("base");
    await server.node.snapshotter.prepare("a", "base", noLabels);
    const responses = await server.list("kind==active", "name==none");
    expect(responses.flatMap(({ info }) => info.map(({ name }) => name))).toEqual(["a"]);
    expect(await server.list("name==none")).toEqual([]);
    expect(await rejection(server.list("name==="))).toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
  });

  test("keeps messages small, in number of entries and in bytes", async () => {
    const page = [entry(1, 5 << 20), ...Array.from({ length: 250 }, (_, id) => entry(id + 2, 10))];
    await using server = await TestServer.start({ list: () => [page] });
    const responses = await server.list();
    expect(responses.map(({ info }) => info.length)).toEqual([1, 100, 100, 50]);
  });

  test("reads no further than the client does, and stops with it", async () => {
    const pagesMax = 100_000;
    let pages = 0;
    const closed = Promise.withResolvers<void>();
    await using server = await TestServer.start({
      *list() {
        try {
          for (; pages < pagesMax; pages++) yield [entry(pages, 100_000)];
        } finally {
          closed.resolve();
        }
      },
    });
    const stream = server.client.list({ snapshotter, filters: [] });
    await new Promise((resolve) => stream.once("data", resolve));
    stream.pause();
    // Two round trips: whatever could be written without waiting is written by then.
    for (let round = 0; round < 2; round++) await rejection(server.stat("none"));
    stream.on("error", () => undefined);
    stream.cancel();
    await closed.promise;
    expect(pages).toBeLessThan(pagesMax);
  });
});

describe("RpcServer", () => {
  test("lets the owner alone connect, whatever the umask", async () => {
    const umask = process.umask(0);
    try {
      await using server = await TestServer.start();
      expect(statSync(server.socketPath).mode & 0o777).toBe(0o600);
      expect(process.umask()).toBe(0);
    } finally {
      process.umask(umask);
    }
  });

  test("refuses a path that another process listens on, or that is no socket", async () => {
    await using server = await TestServer.start();
    const { node, socketPath } = server;
    const options = { socketPath, snapshots: node.snapshotter, diff, log: node.log };
    expect(await rejection(RpcServer.start(options))).toMatchObject({
      code: "failed_precondition",
      message: `Another process listens on "${socketPath}"`,
    });
    const file = join(node.root, "file");
    writeFileSync(file, "");
    expect(await rejection(RpcServer.start({ ...options, socketPath: file }))).toMatchObject({
      code: "failed_precondition",
    });
    const long = join(node.root, "x".repeat(100));
    expect(await rejection(RpcServer.start({ ...options, socketPath: long }))).toMatchObject({
      code: "invalid_argument",
    });
    expect(await server.list()).toEqual([]);
  });

  test("takes over the socket of a process that was killed", async () => {
    await using node = new TestNode();
    const socketPath = join(node.root, "grpc.sock");
    const path = JSON.stringify(socketPath);
    const child = Bun.spawn(
      [
        process.execPath,
        "-e",
        `require("net").createServer().listen(${path}, () => console.log("up"))`,
      ],
      { stdout: "pipe" },
    );
    await child.stdout.getReader().read();
    child.kill("SIGKILL");
    await child.exited;
    expect(existsSync(socketPath)).toBe(true);
    const server = await RpcServer.start({
      socketPath,
      snapshots: node.snapshotter,
      diff,
      log: node.log,
    });
    await server.stop(stopTimeoutMs);
    expect(existsSync(socketPath)).toBe(false);
  });

  test("finishes calls under way before it stops", async () => {
    await using server = await TestServer.start();
    const gate = Promise.withResolvers<void>();
    server.node.layerStore.gate = gate.promise;
    await server.node.snapshotter.prepare("k", "", noLabels);
    const commit = ask((reply) =>
      server.client.commit(
        { snapshotter, name: "c", key: "k", labels: new Map(), parent: "" },
        reply,
      ),
    );
    await rejection(server.stat("none"));
    const stopped = server.server.stop(stopTimeoutMs);
    gate.resolve();
    await commit;
    await stopped;
    expect(server.node.log.messages("warn")).toEqual([]);
  });

  test("cuts calls off that do not end in time", async () => {
    await using server = await TestServer.start({ cleanup: () => new Promise(() => undefined) });
    const hanging = rejection(ask((reply) => server.client.cleanup({ snapshotter }, reply)));
    await rejection(server.stat("none"));
    await server.server.stop(1);
    expect(await hanging).toMatchObject({ code: status.UNAVAILABLE });
    expect(server.node.log.messages("warn")).toHaveLength(1);
  });
});
