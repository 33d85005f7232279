import { describe, expect, test } from "bun:test";
import { type ScratchFolder, scratchFolder } from "../../../scripts/lib/temp.ts";
import { AheadClaims } from "../../../src/claim/ahead-claims.ts";
import { ImageTables } from "../../../src/claim/image-tables.ts";
import { AppError } from "../../../src/errors.ts";
import type { ClaimRequest, LayerBase } from "../../../src/snapshot/contract.ts";
import type { MemoryBlob } from "../../support/lazy/lazy-blob.ts";
import { RecordingLog } from "../snapshot/fakes.ts";
import {
  claimedLayer,
  descriptorOf,
  FakeLazyStore,
  FakeRegistry,
  makeBlob,
  manifestOf,
} from "./fakes.ts";

const root = { mode: 0o40755, uid: 0, gid: 0 };
const first: LayerBase = { root, lower: [] };
const upper: LayerBase = { root, lower: "unknown" };

class Scene implements Disposable {
  readonly #scratch: ScratchFolder = scratchFolder("ahead");
  readonly #tables: ImageTables;
  readonly registry = new FakeRegistry();
  readonly layers = new FakeLazyStore();
  readonly ahead: AheadClaims;
  readonly blobs: readonly MemoryBlob[];

  private constructor(blobs: readonly MemoryBlob[]) {
    this.blobs = blobs;
    this.registry.add(...blobs);
    const isKnown = ({ digest }: { digest: string }) => this.layers.known.has(digest);
    const timeoutMs = 60_000;
    this.#tables = new ImageTables({
      manifest: async () => manifestOf(blobs.map((blob) => descriptorOf(blob))),
      ranges: this.registry.ranges,
      isKnown,
      expect: () => undefined,
      allowUnverified: false,
      timeoutMs,
    });
    this.ahead = new AheadClaims({
      layers: this.layers,
      tables: this.#tables,
      content: { containerdRoot: this.#scratch.path },
      isKnown,
      timeoutMs,
      log: new RecordingLog(),
    });
  }

  static async of(...names: string[]): Promise<Scene> {
    return new Scene(await Promise.all(names.map((name) => makeBlob(name))));
  }

  request(index: number, base = index === 0 ? first : upper): ClaimRequest {
    return {
      image: "registry.example/app:1",
      manifestDigest: "sha256:manifest",
      layerDigest: this.blobs[index]?.digest ?? "",
      target: `sha256:chain ${index}`,
      parentTarget: index === 0 ? "" : `sha256:chain ${index - 1}`,
      namespace: "default",
      base,
      mountedBase: async () => ({ root, lower: ["/mounted"] }),
    };
  }

  [Symbol.dispose](): void {
    this.ahead[Symbol.dispose]();
    this.#tables.close();
    this.#scratch[Symbol.dispose]();
  }
}

describe("AheadClaims", () => {
  test("the other layers are made, as ones that lie on something", async () => {
    using scene = await Scene.of("a", "b", "c");
    await scene.ahead.begin(scene.request(0));
    expect((await scene.ahead.take(scene.request(1)))?.layer).toBeDefined();
    expect((await scene.ahead.take(scene.request(2)))?.layer).toBeDefined();
    const made = new Set(scene.layers.claimed.map(({ blob }) => blob.digest));
    expect(made).toEqual(new Set(scene.blobs.slice(1).map(({ digest }) => digest)));
    expect(scene.layers.claimed.map(({ base }) => base)).toEqual([upper, upper]);
  });

  test("a layer is taken once, and what is there is not made", async () => {
    using scene = await Scene.of("a", "b", "c");
    scene.layers.known.set(scene.blobs[2]!.digest, claimedLayer(9, true));
    await scene.ahead.begin(scene.request(0));
    expect(await scene.ahead.take(scene.request(0))).toBeUndefined();
    expect(await scene.ahead.take(scene.request(2))).toBeUndefined();
    expect((await scene.ahead.take(scene.request(1)))?.layer).toBeDefined();
    expect(await scene.ahead.take(scene.request(1))).toBeUndefined();
  });

  test("a layer that needs those below is left to be made with its table", async () => {
    using scene = await Scene.of("a", "b");
    scene.layers.failures.push(new AppError("failed_precondition", "not lazy: a link"));
    await scene.ahead.begin(scene.request(0));
    const begun = await scene.ahead.take(scene.request(1));
    expect(begun?.layer).toBeUndefined();
    expect(await begun?.answer).toMatchObject({ blobBytes: scene.blobs[1]!.sizeBytes });
  });

  test("a layer that was made for another root is given back", async () => {
    using scene = await Scene.of("a", "b");
    await scene.ahead.begin(scene.request(0));
    const other = { root: { ...root, uid: 5 }, lower: "unknown" } as const;
    expect((await scene.ahead.take(scene.request(1, other)))?.layer).toBeUndefined();
    expect(scene.layers.settled).toEqual([1]);
    expect(scene.layers.released).toEqual([1]);
  });
});
