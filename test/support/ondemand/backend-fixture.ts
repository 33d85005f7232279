/** A backend that serves one lazy layer, and what reads from it; all in a scratch folder. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unmount } from "../../../ffi/mount.ts";
import { type ScratchFolder, scratchFolder } from "../../../scripts/lib/temp.ts";
import { createLogger } from "../../../src/log.ts";
import type { MountMode } from "../../../src/mount/contract.ts";
import { mountImage, unmountTarget } from "../../../src/mount/erofs-mount.ts";
import { parseMountInfo } from "../../../src/mount/mountinfo.ts";
import { chooseBackend } from "../../../src/ondemand/backends.ts";
import type { BackendName, LazyBackend } from "../../../src/ondemand/contract.ts";
import { noLoopsBelow } from "../loop-devices.ts";
import { FakeSource } from "./fake-source.ts";
import { imageFiles, type LazyLayer } from "./lazy-layer.ts";
import { type ReaderReport, type ReaderTask, startReader } from "./reader.ts";
import { makeTestLayer } from "./test-layer.ts";

const threads = 2;

export class BackendFixture {
  readonly #scratch: ScratchFolder = scratchFolder("ondemand");
  readonly #name: BackendName;
  readonly #crashes: Error[] = [];
  #backend: LazyBackend | undefined;
  readonly layer: LazyLayer;
  readonly source: FakeSource;

  constructor(name: BackendName) {
    this.#name = name;
    this.layer = makeTestLayer(join(this.root, "packs"));
    this.source = new FakeSource(this.layer);
    mkdirSync(this.path("expected"));
    for (const [file, bytes] of this.layer.files) writeFileSync(this.path("expected", file), bytes);
  }

  get root(): string {
    return this.#scratch.path;
  }

  path(...parts: readonly string[]): string {
    return join(this.root, ...parts);
  }

  /** Of a file in the mounted layer. */
  mounted(file: string): string {
    return this.path("mount", file);
  }

  async backend(): Promise<LazyBackend> {
    if (this.#backend !== undefined) return this.#backend;
    const options = {
      root: this.root,
      demand: this.source.demand,
      keeper: undefined,
      log: createLogger("silent"),
      threads,
      reportSuspect: () => undefined,
      onCrash: (error: Error) => void this.#crashes.push(error),
    };
    this.#backend = (await chooseBackend(this.#name, options)).backend;
    return this.#backend;
  }

  /** Exposes the pack and mounts the layer. @returns the path at which the pack is exposed */
  async mount(mode: MountMode): Promise<string> {
    const backend = await this.backend();
    const exposed = await backend.expose(this.layer.pack);
    this.mountAt(exposed, mode);
    return exposed;
  }

  mountAt(exposedPath: string, mode: MountMode): void {
    mountImage(imageFiles(this.layer, exposedPath), this.path("mount"), mode);
  }

  unmount(): void {
    unmountTarget(this.path("mount"));
  }

  /** Reads a file of the layer, or of another place with its content, in a process of its own. */
  read(file: string, way: ReaderTask["way"], options: Partial<ReaderTask> = {}) {
    const [path, expected] = [this.mounted(file), this.path("expected", file)];
    return startReader({ path, expected, way, seed: file, failuresMax: 0, ...options });
  }

  /** What a reader of a whole file must report. */
  allRightOf(file: string): ReaderReport {
    return { bytes: this.layer.files.get(file)!.length, wrongReads: 0, failures: 0 };
  }

  /** Places below the root where something is mounted. */
  mountPoints(): string[] {
    const entries = parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"));
    return entries.map(({ mountPoint }) => mountPoint).filter((path) => path.startsWith(this.root));
  }

  async close(): Promise<void> {
    await this.#backend?.close();
    this.#backend = undefined;
  }

  /** Leaves nothing; throws what a thread of the backend died of. */
  async dispose(): Promise<void> {
    for (const place of this.mountPoints().reverse()) {
      if (!place.endsWith("/lazy")) unmount(place, { lazily: true });
    }
    await this.close();
    for (const place of this.mountPoints().reverse()) unmount(place, { lazily: true });
    await noLoopsBelow(this.root);
    this.layer.close();
    this.#scratch[Symbol.dispose]();
    for (const error of this.#crashes) throw error;
  }
}

/** What a command prints; its exit code where it fails. */
export async function run(...command: readonly string[]): Promise<string | number> {
  const child = Bun.spawn([...command], { stdio: ["ignore", "pipe", "ignore"] });
  const text = await new Response(child.stdout).text();
  const code = await child.exited;
  return code === 0 ? text : code;
}
