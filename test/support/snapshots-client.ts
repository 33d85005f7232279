/**
 * A client of the snapshots service, as containerd is one, for tests that need no containerd.
 *
 * @module
 */
import { credentials, status, type Client, type ServiceError } from "@grpc/grpc-js";
import {
  Kind,
  SnapshotsClient as GeneratedClient,
  type Info,
  type ListSnapshotsResponse,
  type MountsResponse,
  type StatSnapshotResponse,
} from "../../src/rpc/gen/containerd/services/snapshots/v1/snapshots.ts";
import type { Mount } from "../../src/rpc/gen/containerd/types/mount.ts";

type Answer<Response> = (error: ServiceError | null, response: Response) => void;

function promised<Response>(call: (answer: Answer<Response>) => unknown): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => {
      if (error === null) resolve(response);
      else reject(error);
    });
  });
}

const snapshotter = "dedup";
const noLabels: ReadonlyMap<string, string> = new Map();

export class SnapshotsClient implements Disposable {
  readonly #client: InstanceType<typeof GeneratedClient> & Client;

  constructor(socket: string) {
    this.#client = new GeneratedClient(`unix:${socket}`, credentials.createInsecure());
  }

  async prepare(key: string, parent: string, labels = noLabels): Promise<Mount[]> {
    const request = { snapshotter, key, parent, labels: new Map(labels) };
    return (await promised<MountsResponse>((answer) => this.#client.prepare(request, answer)))
      .mounts;
  }

  async view(key: string, parent: string): Promise<Mount[]> {
    const request = { snapshotter, key, parent, labels: new Map(noLabels) };
    return (await promised<MountsResponse>((answer) => this.#client.view(request, answer))).mounts;
  }

  async mounts(key: string): Promise<Mount[]> {
    const request = { snapshotter, key };
    return (await promised<MountsResponse>((answer) => this.#client.mounts(request, answer)))
      .mounts;
  }

  /** @param parent gives one to a snapshot that was prepared without */
  async commit(name: string, key: string, parent = ""): Promise<void> {
    const request = { snapshotter, name, key, labels: new Map(noLabels), parent };
    await promised((answer) => this.#client.commit(request, answer));
  }

  async remove(key: string): Promise<void> {
    await promised((answer) => this.#client.remove({ snapshotter, key }, answer));
  }

  async cleanup(): Promise<void> {
    await promised((answer) => this.#client.cleanup({ snapshotter }, answer));
  }

  /** Undefined where there is no such snapshot. */
  async stat(key: string): Promise<Info | undefined> {
    try {
      const request = { snapshotter, key };
      const call = promised<StatSnapshotResponse>((answer) => this.#client.stat(request, answer));
      return (await call).info;
    } catch (error) {
      if ((error as ServiceError).code === status.NOT_FOUND) return undefined;
      throw error;
    }
  }

  async list(filters: string[] = []): Promise<Info[]> {
    const found: Info[] = [];
    const stream = this.#client.list({ snapshotter, filters });
    for await (const page of stream as AsyncIterable<ListSnapshotsResponse>) {
      found.push(...page.info);
    }
    return found;
  }

  /** Removes all snapshots, children first, and waits for their deletion. */
  async removeAll(): Promise<void> {
    for (let left = await this.list(); left.length > 0; left = await this.list()) {
      const parents = new Set(left.map((info) => info.parent));
      for (const { name } of left) if (!parents.has(name)) await this.remove(name);
    }
    await this.cleanup();
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

export { Kind, type Info, type Mount };
