/** The store of layers with its worker threads, as the daemon has it, but without snapshots. */
import { type OpenRoot, openRoot } from "../../src/root.ts";
import { NodeLayerStore } from "../../src/layer/layer-store.ts";
import type { ExtentCodec } from "../../src/erofs/extent-codec.ts";
import { endOfPack } from "../../src/store/index-database.ts";
import { findLayerBlob } from "../../src/store/layer-blobs.ts";
import { findLazyLayer, lazyPackOfLayer } from "../../src/store/lazy-layers.ts";
import { makeCancelFlag } from "../../src/util/cancel-flag.ts";
import { MiB } from "../../src/util/bytes.ts";
import type { WorkerConfiguration } from "../../src/worker.ts";
import { WorkerPool } from "../../src/workers.ts";
import { RecordingLog } from "../unit/snapshot/fakes.ts";

/** What the daemon's other parts would answer. */
export interface StoreNeighbours {
  /** Of layers, those that snapshots refer to. */
  readonly referenced: Set<number>;
  letGoOfPacks: (packIds: readonly number[]) => Promise<void>;
}

export class TestLayerStore implements AsyncDisposable {
  readonly layers: NodeLayerStore;
  readonly root: OpenRoot;
  readonly log = new RecordingLog();
  readonly neighbours: StoreNeighbours = {
    referenced: new Set(),
    letGoOfPacks: () => Promise.resolve(),
  };
  readonly #pools: readonly WorkerPool[];

  private constructor(root: OpenRoot, codec: ExtentCodec) {
    this.root = root;
    const { paths, index, allocator } = root;
    const configuration = (): WorkerConfiguration => ({
      paths,
      chunkBytes: 4 * MiB,
      codec,
      mkfs: undefined,
      stopFlag: makeCancelFlag(),
    });
    const handlers = {
      reserve: (request: { job: number; count: number }) => this.layers.reserve(request),
      createLazyPack: (request: { job: number; contentBytes: number }) =>
        this.layers.createLazyPack(request),
      pacePromotion: () => Promise.resolve(),
    };
    const makePool = (threadsMax: number) =>
      new WorkerPool({ threadsMax, idleMs: 1000, configuration, handlers, onCrash: fail });
    const [builders, rewriter, housekeeper] = [makePool(2), makePool(1), makePool(1)];
    this.#pools = [builders, rewriter, housekeeper];
    const { referenced } = this.neighbours;
    this.layers = new NodeLayerStore({
      builders,
      rewriter,
      housekeeper,
      allocator,
      mounts: { evict: () => Promise.resolve() },
      isReferenced: (layerId) => referenced.has(layerId),
      durable: () => Promise.resolve(),
      moveSnapshots: async (from, to) => {
        referenced.delete(from);
        referenced.add(to);
      },
      findBlob: (key) => findLayerBlob(index, paths, key),
      findLazy: (key) => findLazyLayer(index, paths, key),
      isPackEmpty: (packId) => endOfPack(index, packId) === undefined,
      lazyPacksOf: (layerIds) =>
        layerIds.flatMap((layerId) => lazyPackOfLayer(index, layerId)?.pack ?? []),
      letGoOfPacks: (packIds) => this.neighbours.letGoOfPacks(packIds),
      onOutdated: () => undefined,
      onIdle: () => undefined,
      log: this.log,
    });
  }

  static async open(path: string, codec: ExtentCodec): Promise<TestLayerStore> {
    return new TestLayerStore(await openRoot(path), codec);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.layers.close();
    for (const pool of this.#pools) pool.close();
    await this.root.close(true);
  }
}

function fail(error: Error): never {
  throw error;
}
