/** A store without a daemon: layers are built from folders, published, mounted and deleted. */
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkRoot } from "../../src/check/check.ts";
import type { Finding } from "../../src/check/finding.ts";
import type { ExtentCodec } from "../../src/erofs/extent-codec.ts";
import { type BuildEnvironment, buildFromDirectory, publish } from "../../src/layer/build.ts";
import type { MkfsBuilder } from "../../src/mkfs/build.ts";
import { type Pace, rewriteLayer } from "../../src/layer/rewrite.ts";
import { mountImage, unmountTarget } from "../../src/mount/erofs-mount.ts";
import { allLayerIds, findLayer, openIndex, packIdsOf } from "../../src/store/index-database.ts";
import { PackAllocator } from "../../src/store/pack-allocator.ts";
import { imagePath, packPath, type StorePaths, storePaths } from "../../src/store/paths.ts";
import type { BuiltLayer, PublishedLayer } from "../../src/store/publish.ts";
import { deleteLayers, findLeftovers, removeLeftovers } from "../../src/store/reclaim.ts";
import { defined } from "../../src/util/assert.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";

export type Files = Readonly<Record<string, string | Uint8Array>>;

export class TestStore implements Disposable {
  readonly #folder = scratchFolder("store");
  readonly paths: StorePaths = storePaths(join(this.#folder.path, "root"));
  readonly #allocator = new PackAllocator(this.paths);
  readonly #chunkBytes: number;
  readonly #targets: string[] = [];
  readonly database;
  #folders = 0;

  /** Writes the images; undefined: we do. */
  mkfs: MkfsBuilder | undefined;

  constructor(chunkBytes: number, mkfs?: MkfsBuilder) {
    this.mkfs = mkfs;
    this.#chunkBytes = chunkBytes;
    mkdirSync(this.paths.images, { recursive: true });
    mkdirSync(this.paths.packs);
    this.database = openIndex(this.paths.indexDatabase);
  }

  [Symbol.dispose](): void {
    for (const target of this.#targets) unmountTarget(target);
    this.database.close();
    this.#folder[Symbol.dispose]();
  }

  makeFolder(files: Files): string {
    const path = join(this.#folder.path, `folder-${this.#folders++}`);
    mkdirSync(path);
    for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content);
    return path;
  }

  build(folder: string, codec: ExtentCodec | undefined): Promise<BuiltLayer> {
    return buildFromDirectory(this.environment(codec), folder);
  }

  publish(layer: BuiltLayer): PublishedLayer {
    return publish(this.environment(undefined), layer);
  }

  /** Builds a layer anew and deletes the old one, as the daemon does once nobody reads it. */
  async rewrite(
    layerId: number,
    codec: ExtentCodec | undefined,
    recompresses = false,
  ): Promise<PublishedLayer> {
    const published = this.publish(await this.buildAgain(layerId, codec, recompresses));
    if (published.layerId !== layerId) this.delete(layerId);
    return published;
  }

  buildAgain(
    layerId: number,
    codec: ExtentCodec | undefined,
    recompresses = false,
    pace: Pace = async () => undefined,
  ): Promise<BuiltLayer> {
    return rewriteLayer(this.environment(codec), { layerId, recompresses }, pace);
  }

  /** Builds an ordinary layer of a lazy one, and leaves that. */
  async promote(layerId: number, codec: ExtentCodec | undefined): Promise<PublishedLayer> {
    const request = { layerId, recompresses: false, promotes: true };
    return this.publish(
      await rewriteLayer(this.environment(codec), request, async () => undefined),
    );
  }

  createLazyPack(contentBytes: number): Promise<number> {
    return this.#allocator.createLazyPack(this.#allocator.begin(), contentBytes);
  }

  delete(...layerIds: number[]): void {
    const inUse = deleteLayers(this.database, this.paths, layerIds);
    if (inUse.length > 0) throw new Error(`layers ${inUse.join()} are in use`);
  }

  async add(folder: string, codec: ExtentCodec | undefined): Promise<PublishedLayer> {
    return this.publish(await this.build(folder, codec));
  }

  /** Mounts a layer; returns where. */
  mount(layerId: number): string {
    const target = join(this.#folder.path, `mount-${layerId}`);
    const layer = defined(findLayer(this.database, layerId), "the layer");
    const packs = packIdsOf(layer).map((packId) => packPath(this.paths, packId));
    const image = imagePath(this.paths, layerId);
    this.#targets.push(target);
    mountImage({ image, packs }, target, { method: "file", directIo: true });
    return target;
  }

  unmountAll(): void {
    for (const target of this.#targets.splice(0)) unmountTarget(target);
  }

  /** Bytes of the packs on disk. */
  usage(): number {
    const names = readdirSync(this.paths.packs);
    return names.reduce(
      (sum, name) => sum + statSync(join(this.paths.packs, name)).blocks * 512,
      0,
    );
  }

  /** Reads all content; every layer counts as used. */
  check(): Finding[] {
    const layerReferences = new Map(allLayerIds(this.database).map((layerId) => [layerId, 1]));
    const options = { readsData: true, isExclusive: true, progress: () => undefined };
    return checkRoot(this.database, this.paths, { layerReferences }, options);
  }

  sweep(): void {
    removeLeftovers(this.paths, findLeftovers(this.database, this.paths));
  }

  /** As a builder thread has it. */
  environment(codec: ExtentCodec | undefined): BuildEnvironment {
    const reservation = this.#allocator.begin();
    const reserve = (count: number) => this.#allocator.reserve(reservation, count);
    const { database, paths } = this;
    return { database, paths, chunkBytes: this.#chunkBytes, codec, reserve, mkfs: this.mkfs };
  }
}
