/** The diff service over real sockets: a client, us, and a containerd that is faked. */
import { credentials, Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import type { Descriptor } from "../../../src/containerd/descriptor.ts";
import type { ApplyCall } from "../../../src/containerd/diff-service.ts";
import { AppError } from "../../../src/errors.ts";
import { ContainerdClient } from "../../../src/rpc/containerd-client.ts";
import {
  DiffClient,
  type ApplyRequest,
  type ApplyResponse,
} from "../../../src/rpc/gen/containerd/services/diff/v1/diff.ts";
import { RpcServer } from "../../../src/rpc/server.ts";
import { FakeContainerd } from "../../support/fake-containerd.ts";
import { randomBytes } from "../../support/random.ts";
import { rejection } from "../../support/rejection.ts";
import { TestNode } from "../snapshot/fakes.ts";

type Reply<T> = (error: ServiceError | null, response: T) => void;

function ask<T>(send: (reply: Reply<T>) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    send((error, response) => (error === null ? resolve(response) : reject(error)));
  });
}

const digest = `sha256:${"ab".repeat(32)}`;
const mount = { type: "bind", source: "/upper", target: "", options: ["rw"] };
const annotations = new Map([["a", "1"]]);
const request: ApplyRequest = {
  diff: { mediaType: "type", digest, size: 2n ** 40n, annotations },
  mounts: [mount],
  payloads: new Map(),
  syncFs: true,
};
const byContainerd = FakeContainerd.answer;

class Fixture implements AsyncDisposable {
  readonly calls: ApplyCall[] = [];
  answer: (call: ApplyCall) => Promise<Descriptor | undefined> = async () => undefined;
  readonly containerd: FakeContainerd;
  readonly client: DiffClient;
  readonly #stack: AsyncDisposableStack;

  private constructor(containerd: FakeContainerd, client: DiffClient, stack: AsyncDisposableStack) {
    this.containerd = containerd;
    this.client = client;
    this.#stack = stack;
  }

  static async start(): Promise<Fixture> {
    await using stack = new AsyncDisposableStack();
    const node = stack.use(new TestNode());
    const containerdSocket = join(node.root, "c.sock");
    const containerd = stack.use(await FakeContainerd.start(containerdSocket));
    const delegate = stack.use(new ContainerdClient(containerdSocket));
    const apply = async (call: ApplyCall) => {
      fixture.calls.push(call);
      return fixture.answer(call);
    };
    const socketPath = join(node.root, "grpc.sock");
    const server = await RpcServer.start({
      socketPath,
      snapshots: node.snapshotter,
      diff: { service: { apply }, delegate },
      log: node.log,
    });
    stack.defer(() => server.stop(1000));
    const client = new DiffClient(`unix:${socketPath}`, credentials.createInsecure());
    stack.defer(() => client.close());
    const fixture = new Fixture(containerd, client, stack.move());
    return fixture;
  }

  apply(metadata = new Metadata()): Promise<ApplyResponse> {
    return ask<ApplyResponse>((reply) => this.client.apply(request, metadata, reply));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

describe("diffHandlers()", () => {
  test("answers what was applied here", async () => {
    await using fixture = await Fixture.start();
    fixture.answer = async () => ({ mediaType: "tar", digest: "sha256:cd", sizeBytes: 2 ** 40 });
    const metadata = new Metadata();
    metadata.set("containerd-namespace", "k8s.io");
    expect((await fixture.apply(metadata)).applied).toEqual({
      mediaType: "tar",
      digest: "sha256:cd",
      size: 2n ** 40n,
      annotations: new Map(),
    });
    expect(fixture.calls).toEqual([
      {
        blob: { mediaType: "type", digest, sizeBytes: 2 ** 40 },
        mounts: [mount],
        needsProcessor: false,
        scope: { namespace: "k8s.io", lease: undefined },
        signal: expect.any(AbortSignal),
      },
    ]);
    expect(fixture.containerd.applied).toEqual([]);
  });

  test("hands over the rest, as it came, in the same namespace and lease", async () => {
    await using fixture = await Fixture.start();
    const metadata = new Metadata();
    metadata.set("containerd-namespace", "k8s.io");
    metadata.set("containerd-lease", "lease 1");
    expect((await fixture.apply(metadata)).applied).toEqual(byContainerd);
    const [handedOver] = fixture.containerd.applied;
    expect(handedOver?.request).toEqual(request);
    expect(handedOver?.metadata.get("containerd-namespace")).toEqual(["k8s.io"]);
    expect(handedOver?.metadata.get("containerd-lease")).toEqual(["lease 1"]);
  });

  test("hands over Diff", async () => {
    await using fixture = await Fixture.start();
    const diff = {
      left: [mount],
      right: [mount],
      mediaType: "",
      ref: "r",
      labels: new Map<string, string>(),
      sourceDateEpoch: undefined,
    };
    const response = await ask<{ diff?: unknown }>((reply) => fixture.client.diff(diff, reply));
    expect(response.diff).toEqual(byContainerd);
  });

  test("does not go round in circles when containerd asks back", async () => {
    await using fixture = await Fixture.start();
    let asked: unknown;
    fixture.containerd.meanwhile = async () => {
      asked = await rejection(fixture.apply());
    };
    expect((await fixture.apply()).applied).toEqual(byContainerd);
    expect(asked).toMatchObject({ code: status.UNIMPLEMENTED });
    expect(fixture.calls).toHaveLength(1);
    fixture.containerd.meanwhile = async () => undefined;
    expect((await fixture.apply()).applied).toEqual(byContainerd);
  });

  test("tells the service when the client is gone", async () => {
    await using fixture = await Fixture.start();
    const aborted = Promise.withResolvers<void>();
    fixture.answer = (call) =>
      new Promise((_, reject) => {
        call.signal.addEventListener("abort", () => {
          aborted.resolve();
          reject(new AppError("cancelled", "gone"));
        });
        running.cancel();
      });
    const failed = Promise.withResolvers<unknown>();
    const running = fixture.client.apply(request, (error) => failed.resolve(error));
    expect(await failed.promise).toMatchObject({ code: status.CANCELLED });
    await aborted.promise;
  });
});

describe("ContainerdClient", () => {
  test("reads a part of a blob", async () => {
    using scratch = scratchFolder("unit");
    const socket = join(scratch.path, "c.sock");
    await using containerd = await FakeContainerd.start(socket);
    using client = new ContainerdClient(socket);
    const scope = { namespace: "n", lease: undefined };
    const blob = randomBytes("blob", 3_000_000);
    containerd.blobs.set(digest, blob);
    const part = await client.readBlob(digest, 3, 2_000_000, scope);
    expect(blob.subarray(3, 2_000_003).equals(part)).toBe(true);
    const missing = client.readBlob("sha256:other", 0, 1, scope);
    expect(await rejection(missing)).toMatchObject({ code: "not_found" });
  });

  test("says what to set when nobody answers", async () => {
    using client = new ContainerdClient("/nowhere/containerd.sock");
    const { signal } = new AbortController();
    const scope = { namespace: undefined, lease: undefined };
    expect(await rejection(client.apply(request, scope, signal))).toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("/nowhere/containerd.sock"),
      remedy: expect.stringContaining("containerd.address"),
    });
  });
});
