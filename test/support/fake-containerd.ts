/**
 * The services of containerd that the daemon asks for, without a containerd: a Content service with
 * the blobs it is given, and a Diff service that remembers what it was asked and says it did it.
 *
 * @module
 */
import { Metadata, Server, ServerCredentials, status } from "@grpc/grpc-js";
import {
  ContentService,
  type ContentServer,
} from "../../src/rpc/gen/containerd/services/content/v1/content.ts";
import {
  DiffService,
  type ApplyRequest,
  type DiffServer,
} from "../../src/rpc/gen/containerd/services/diff/v1/diff.ts";
import type { Descriptor } from "../../src/rpc/gen/containerd/types/descriptor.ts";

/** As containerd sends them. */
const partBytes = 1 << 20;

export class FakeContainerd implements AsyncDisposable {
  /** What the Diff service answers. */
  static readonly answer: Descriptor = {
    mediaType: "by containerd",
    digest: "sha256:by-containerd",
    size: 7n,
    annotations: new Map(),
  };
  readonly applied: { readonly request: ApplyRequest; readonly metadata: Metadata }[] = [];
  /** By digest. */
  readonly blobs = new Map<string, Uint8Array>();
  /** Runs before the answer to Apply. */
  meanwhile: () => Promise<void> = () => Promise.resolve();
  readonly #server = new Server();

  static async start(socket: string): Promise<FakeContainerd> {
    const fake = new FakeContainerd();
    const server = fake.#server;
    server.addService(DiffService, fake.#diff());
    server.addService(ContentService, fake.#content());
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      );
    });
    return fake;
  }

  #diff(): DiffServer {
    return {
      apply: (call, callback) => {
        this.applied.push({ request: call.request, metadata: call.metadata });
        this.meanwhile().then(
          () => callback(null, { applied: FakeContainerd.answer }),
          (error: unknown) => callback({ code: status.UNKNOWN, details: String(error) }),
        );
      },
      diff: (_, callback) => callback(null, { diff: FakeContainerd.answer }),
    };
  }

  #content(): ContentServer {
    return {
      read: (call) => {
        const { digest, offset, size } = call.request;
        const blob = this.blobs.get(digest);
        if (blob === undefined) {
          call.emit("error", { code: status.NOT_FOUND, details: `${digest}: not found` });
          return;
        }
        const end = size === 0n ? blob.length : Math.min(Number(offset + size), blob.length);
        for (let at = Number(offset); at < end; at += partBytes) {
          const data = Buffer.from(blob.subarray(at, Math.min(at + partBytes, end)));
          call.write({ offset: BigInt(at), data });
        }
        call.end();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }
}
