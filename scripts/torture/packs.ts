/** The layers that are tortured: lazy packs with an image each, and what reading them must give. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LazyFormat } from "../../src/lazy/model.ts";
import type { MountMode } from "../../src/mount/contract.ts";
import { mountImage, unmountTarget } from "../../src/mount/erofs-mount.ts";
import { alignUp, KiB, MiB } from "../../src/util/bytes.ts";
import { lazyImage } from "../../test/support/ondemand/lazy-layer.ts";
import {
  type LazyPackFixture,
  makeLazyPack,
  writeLazyPack,
} from "../../test/support/ondemand/lazy-pack.ts";
import { programName } from "./ways.ts";

const blockBytes = 4096;
/** Every size of piece is among them; 18 MiB. */
const fileSizes = [
  9 * MiB + 123,
  4 * MiB,
  3 * MiB + 1,
  MiB,
  700 * KiB + 1,
  64 * KiB,
  5000,
  777,
] as const;

export interface TortureFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** In the pack. */
  readonly offsetBytes: number;
}

export interface TorturePackOptions {
  /** In a short path; for mounts and for what must be read. */
  readonly folder: string;
  /** In whose `packs` it lies. */
  readonly root: string;
  readonly packId: number;
  readonly format: LazyFormat;
  /** How often it has each size of file. */
  readonly copies: number;
  readonly seed: string;
}

export class TorturePack {
  readonly packId: number;
  readonly fixture: LazyPackFixture;
  readonly files: readonly TortureFile[];
  readonly mountPoint: string;
  readonly #options: TorturePackOptions;
  #exposedPath = "";
  /** Readers of it at the moment; one that is replaced has none. */
  readers = 0;
  isReplaced = false;

  constructor(options: TorturePackOptions) {
    const { folder, packId, format, copies, seed } = options;
    this.packId = packId;
    this.#options = options;
    this.mountPoint = join(folder, "mounts", String(packId));
    const sizes = Array.from({ length: copies }, () => fileSizes).flat();
    const program = readFileSync("/usr/bin/sha256sum");
    this.fixture = makeLazyPack({
      format,
      sizes,
      files: [program],
      chunkBytes: 96 * KiB,
      gapBytes: 512,
      seed: `${seed} ${packId}`,
    });
    this.files = place([
      ...sizes.map((sizeBytes, index) => ({ name: `file-${index}`, sizeBytes })),
      { name: programName, sizeBytes: program.length },
    ]);
    this.#writeExpected();
  }

  /** Where the backend exposes it. */
  get exposedPath(): string {
    return this.#exposedPath;
  }

  /** A file with what reading that file of the layer must give. */
  expectedPath(name: string): string {
    return join(this.#options.folder, "expected", String(this.packId), name);
  }

  /** Makes the pack, with nothing of its content there. */
  write(image: string): void {
    writeLazyPack(this.#options.root, this.packId, this.fixture, image);
    writeFileSync(this.#imagePath, lazyImage(this.packId, this.files));
  }

  mount(exposedPath: string, mode: MountMode): void {
    this.#exposedPath = exposedPath;
    mountImage({ image: this.#imagePath, packs: [exposedPath] }, this.mountPoint, mode);
  }

  unmount(): void {
    unmountTarget(this.mountPoint);
  }

  /** Removes the pack with all that is known of it. */
  remove(): void {
    const packs = join(this.#options.root, "packs");
    for (const name of readdirSync(packs)) {
      if (name.startsWith(`${this.packId}.`)) rmSync(join(packs, name));
    }
  }

  get #imagePath(): string {
    return join(this.#options.folder, `${this.packId}.erofs`);
  }

  #writeExpected(): void {
    const { folder } = this.#options;
    mkdirSync(join(folder, "expected", String(this.packId)), { recursive: true });
    mkdirSync(join(folder, "mounts"), { recursive: true });
    for (const { name, sizeBytes, offsetBytes } of this.files) {
      const content = this.fixture.content.subarray(offsetBytes, offsetBytes + sizeBytes);
      writeFileSync(this.expectedPath(name), content);
    }
  }
}

function place(files: readonly Omit<TortureFile, "offsetBytes">[]): TortureFile[] {
  let offsetBytes = 0;
  return files.map((file) => {
    const placed = { ...file, offsetBytes };
    offsetBytes = alignUp(offsetBytes + file.sizeBytes, blockBytes);
    return placed;
  });
}
