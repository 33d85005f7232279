/** A snapshotter over a real database and real directories, with neighbours that only record. */
import { mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type {
  AppliedBlob,
  BlobLayer,
  BlobNote,
  ConvertedLayer,
  LayerBase,
  LayerBlob,
  LayerMounts,
  LayerStore,
  TreeWorker,
} from "../../../src/snapshot/contract.ts";
import { SnapshotMetadata } from "../../../src/snapshot/metadata.ts";
import { Snapshotter, type SnapshotterOptions } from "../../../src/snapshot/snapshotter.ts";
import type { Logger } from "../../../src/util/logger.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";

export const noLabels: ReadonlyMap<string, string> = new Map();
export const plainCommit = { labels: noLabels, parent: "" };

export interface LogLine {
  readonly level: string;
  readonly fields: object;
  readonly message: string;
}

export class RecordingLog implements Logger {
  readonly lines: LogLine[] = [];
  readonly debug = this.#record("debug");
  readonly info = this.#record("info");
  readonly warn = this.#record("warn");
  readonly error = this.#record("error");

  messages(level: string): string[] {
    return this.lines.filter((line) => line.level === level).map((line) => line.message);
  }

  #record(level: string) {
    return (fields: object, message: string) => void this.lines.push({ level, fields, message });
  }
}

export function blobOf(digest: string): LayerBlob {
  const facts = { digest, sizeBytes: 1, namespace: "default", file: digest };
  return { ...facts, read: async () => new Uint8Array(1) };
}

/** Gives each directory an image of its own, unless told otherwise. */
export class FakeLayerStore implements LayerStore {
  readonly converted: string[] = [];
  readonly applied: { readonly blob: LayerBlob; readonly base: LayerBase }[] = [];
  readonly settled: number[] = [];
  readonly released: number[] = [];
  /** What conversions wait for, and then fail with. */
  gate: Promise<unknown> = Promise.resolve();
  failure: unknown;
  next: Partial<ConvertedLayer> = {};
  #layerId = 100;

  async convert(directory: string): Promise<ConvertedLayer> {
    this.converted.push(directory);
    await this.gate;
    if (this.failure !== undefined) throw this.failure;
    this.#layerId += 1;
    return { layerId: this.#layerId, addedBytes: 4096, inodes: 3, reused: false, ...this.next };
  }

  /** Layers that were made of blobs before, by digest. */
  readonly known = new Map<string, BlobLayer>();

  async find({ digest }: BlobNote): Promise<BlobLayer | undefined> {
    return this.known.get(digest);
  }

  async inspect({ digest }: LayerBlob): Promise<AppliedBlob> {
    return { diffId: `sha256:tar of ${digest}`, tarBytes: 10_240 };
  }

  async apply(blob: LayerBlob, base: LayerBase): Promise<BlobLayer> {
    this.applied.push({ blob, base });
    const layer = await this.convert(`blob ${blob.digest}`);
    return { ...layer, diffId: `sha256:tar of ${blob.digest}`, tarBytes: 10_240 };
  }

  settle(layerId: number): void {
    this.settled.push(layerId);
  }

  async release(layerIds: readonly number[]): Promise<void> {
    this.released.push(...layerIds);
  }
}

export class FakeLayerMounts implements LayerMounts {
  readonly held = new Map<string, readonly number[]>();
  readonly #root: string;
  failure: unknown;

  constructor(root: string) {
    this.#root = root;
  }

  async acquire(holder: string, layerIds: readonly number[]): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    this.held.set(holder, layerIds);
    for (const layerId of layerIds) mkdirSync(this.directory(layerId), { recursive: true });
  }

  release(holder: string): void {
    this.held.delete(holder);
  }

  async evict(): Promise<void> {}

  directory(layerId: number): string {
    return join(this.#root, "mounts", String(layerId));
  }
}

export class FakeTrees implements TreeWorker {
  readonly synced: string[] = [];
  removeTree(path: string): Promise<void> {
    return rm(path, { recursive: true, force: true });
  }
  async syncFilesystem(path: string): Promise<void> {
    this.synced.push(path);
  }
}

/** A node's snapshots below a scratch folder, which can be opened again as after a restart. */
export class TestNode implements AsyncDisposable {
  readonly #scratch = scratchFolder("unit");
  readonly root = this.#scratch.path;
  readonly log = new RecordingLog();
  readonly layerStore = new FakeLayerStore();
  readonly mounts = new FakeLayerMounts(this.root);
  readonly trees = new FakeTrees();
  readonly overlayParameters = join(this.root, "parameters");
  metadata: SnapshotMetadata;
  snapshotter: Snapshotter;
  readonly #options: Partial<SnapshotterOptions>;
  #timeNs = 1_700_000_000_000_000_001n;

  constructor(options: Partial<SnapshotterOptions> = {}) {
    this.#options = options;
    this.metadata = SnapshotMetadata.open(join(this.root, "snapshots.db"));
    this.snapshotter = this.#open();
  }

  /** @param meanwhile what happens to the files while nothing is running */
  async restart(meanwhile = () => {}): Promise<void> {
    await this.snapshotter.close();
    await this.metadata.close();
    meanwhile();
    this.metadata = SnapshotMetadata.open(join(this.root, "snapshots.db"));
    this.snapshotter = this.#open();
  }

  /** Prepares and commits one layer on `parent`. */
  async layer(name: string, parent = ""): Promise<void> {
    await this.snapshotter.prepare(`extract ${name}`, parent, noLabels);
    await this.snapshotter.commit(name, `extract ${name}`, plainCommit);
  }

  upper(key: string): string {
    return join(this.root, "snapshots", String(this.metadata.find(key)?.id), "fs");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.snapshotter.close();
    await this.metadata.close();
    this.#scratch[Symbol.dispose]();
  }

  #open(): Snapshotter {
    const { root, metadata, layerStore, mounts, trees, log, overlayParameters } = this;
    const nowNs = () => this.#timeNs++;
    return new Snapshotter({
      root,
      metadata,
      layerStore,
      mounts,
      trees,
      log,
      overlayParameters,
      nowNs,
      openBlob: (note) => blobOf(note.digest),
      conversionEnabled: true,
      ...this.#options,
    });
  }
}
