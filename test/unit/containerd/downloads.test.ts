import { describe, expect, test } from "bun:test";
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "../../../scripts/lib/process.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { ingestFolder } from "../../../src/containerd/content-store.ts";
import { DownloadWatcher, type LayerDownload } from "../../../src/containerd/downloads.ts";
import { FakeDownload } from "../../support/fake-download.ts";
import { randomBytes } from "../../support/random.ts";
import { RecordingLog } from "../snapshot/fakes.ts";

class Fixture implements Disposable {
  readonly #scratch = scratchFolder("unit");
  readonly root = this.#scratch.path;
  readonly log = new RecordingLog();
  readonly found: LayerDownload[] = [];
  readonly watcher = new DownloadWatcher({
    containerdRoot: this.root,
    onDownload: (download) => void this.found.push(download),
    log: this.log,
  });

  constructor(hasContentStore = true) {
    if (hasContentStore) mkdirSync(ingestFolder(this.root), { recursive: true });
  }

  download(name: string, options = {}): FakeDownload {
    return new FakeDownload(this.root, randomBytes(name, 1000), options);
  }

  /** Waits until something that comes after all before it is found. */
  async findAllBefore(): Promise<LayerDownload[]> {
    const { digest } = this.download(`mark ${this.found.length}`);
    const isFound = () => this.found.some(({ blob }) => blob.digest === digest);
    await waitUntil(isFound, "the last download is found");
    return this.found.filter(({ blob }) => blob.digest !== digest);
  }

  [Symbol.dispose](): void {
    this.watcher.close();
    this.#scratch[Symbol.dispose]();
  }
}

describe("DownloadWatcher", () => {
  test("finds the layers that are on their way, and those that come, once each", async () => {
    using fixture = new Fixture();
    const first = fixture.download("first", { ref: `k8s.io/12/layer-sha256:${"a".repeat(64)}` });
    fixture.watcher.watch();
    await waitUntil(() => fixture.found.length === 1, "the first is found");
    fixture.watcher.watch();
    const second = fixture.download("second");
    first.reach(500);
    expect(await fixture.findAllBefore()).toEqual([
      {
        blob: { digest: `sha256:${"a".repeat(64)}`, sizeBytes: 1000, namespace: "k8s.io" },
        file: first.file,
      },
      {
        blob: { digest: second.digest, sizeBytes: 1000, namespace: "default" },
        file: second.file,
      },
    ]);
  });

  test("finds a download again that began anew", async () => {
    using fixture = new Fixture();
    fixture.watcher.watch();
    const { digest } = fixture.download("given up");
    await waitUntil(() => fixture.found.length === 1, "it is found");
    fixture.download("given up").abort();
    await fixture.findAllBefore();
    fixture.download("given up");
    const ofBlob = () => fixture.found.filter(({ blob }) => blob.digest === digest);
    await waitUntil(() => ofBlob().length === 2, "it is found again");
  });

  test("looks again at a folder that is not complete yet", async () => {
    using fixture = new Fixture();
    fixture.watcher.watch();
    const { file } = fixture.download("late", { total: "" });
    await fixture.findAllBefore();
    writeFileSync(join(file, "..", "total"), "1000");
    await waitUntil(() => fixture.found.some((found) => found.file === file), "it is found");
  });

  test("waits until a download that was given up goes on", async () => {
    using fixture = new Fixture();
    const old = fixture.download("old");
    utimesSync(old.file, 0, 0);
    fixture.watcher.watch();
    expect(await fixture.findAllBefore()).toEqual([]);
    old.reach(500);
    await waitUntil(() => fixture.found.some(({ file }) => file === old.file), "it is found");
  });

  test.each([
    ["a configuration", { ref: `default/1/config-sha256:${"a".repeat(64)}` }],
    ["a name without a namespace", { ref: `layer-sha256:${"a".repeat(64)}` }],
    ["a digest that is none", { ref: "default/1/layer-sha256:../../etc/passwd" }],
    ["a size of nothing", { total: "0" }],
    ["a size that is none", { total: "many" }],
    ["a name beyond all bounds", { ref: "x".repeat(10_000) }],
    ["a size beyond all bounds", { total: "1".repeat(16) }],
  ])("passes over %s", async (_, options) => {
    using fixture = new Fixture();
    fixture.download("other", options);
    fixture.watcher.watch();
    expect(await fixture.findAllBefore()).toEqual([]);
  });

  test("does without a content store, and finds it when it is there later", async () => {
    using fixture = new Fixture(false);
    fixture.watcher.watch();
    await waitUntil(() => fixture.log.messages("debug").length > 0, "it is given up");
    expect(fixture.log.messages("debug")).toEqual(["downloads of containerd cannot be watched"]);
    mkdirSync(ingestFolder(fixture.root), { recursive: true });
    fixture.watcher.watch();
    expect(await fixture.findAllBefore()).toEqual([]);
  });
});
