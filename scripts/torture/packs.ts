/** The layers that are tortured: lazy packs with an image each, and what reading them must give. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { MountMode } from "../../src/mount/contract.ts";
import { mountImage, unmountTarget } from "../../src/mount/erofs-mount.ts";
import { alignUp, KiB, MiB } from "../../src/util/bytes.ts";
import { lazyImage } from "../../test/support/ondemand/lazy-layer.ts";
import {
  type LazyPackFixture,
  makeLazyPack,
  writeLazyPack,
} from "../../test/support/ondemand/lazy-pack.ts";

const blockBytes = 4096;
/** Of one pack; every size of piece is among them. */
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
}

export class TorturePack {
  readonly packId: number;
  readonly fixture: LazyPackFixture;
  readonly files: readonly TortureFile[];
  readonly mountPoint: string;
  readonly #folder: string;
  /** Readers of it at the moment; one that is replaced has none. */
  readers = 0;
  isReplaced = false;

  constructor(folder: string, packId: number, seed: string) {
    this.packId = packId;
    this.#folder = folder;
    this.mountPoint = join(folder, "mounts", String(packId));
    this.fixture = makeLazyPack({
      sizes: fileSizes,
      chunkBytes: 96 * KiB,
      gapBytes: 512,
      seed: `${seed} ${packId}`,
    });
    this.files = fileSizes.map((sizeBytes, index) => ({ name: `file-${index}`, sizeBytes }));
    this.#writeExpected();
  }

  /** A file with what reading that file of the layer must give. */
  expectedPath(name: string): string {
    return join(this.#folder, "expected", String(this.packId), name);
  }

  /** Makes the pack, with nothing of its content there. */
  write(image: string): void {
    writeLazyPack(this.#root, this.packId, this.fixture, image);
    writeFileSync(this.#imagePath, lazyImage(this.packId, this.#placed()));
  }

  mount(exposedPath: string, mode: MountMode): void {
    mountImage({ image: this.#imagePath, packs: [exposedPath] }, this.mountPoint, mode);
  }

  unmount(): void {
    unmountTarget(this.mountPoint);
  }

  /** Removes the pack with all that is known of it. */
  remove(): void {
    const packs = join(this.#root, "packs");
    for (const name of readdirSync(packs)) {
      if (name.startsWith(`${this.packId}.`)) rmSync(join(packs, name));
    }
  }

  get #root(): string {
    return join(this.#folder, "root");
  }

  get #imagePath(): string {
    return join(this.#folder, `${this.packId}.erofs`);
  }

  #placed() {
    let offsetBytes = 0;
    return this.files.map((file) => {
      const placed = { ...file, offsetBytes };
      offsetBytes = alignUp(offsetBytes + file.sizeBytes, blockBytes);
      return placed;
    });
  }

  #writeExpected(): void {
    mkdirSync(join(this.#folder, "expected", String(this.packId)), { recursive: true });
    mkdirSync(join(this.#folder, "mounts"), { recursive: true });
    for (const { name, sizeBytes, offsetBytes } of this.#placed()) {
      const content = this.fixture.content.subarray(offsetBytes, offsetBytes + sizeBytes);
      writeFileSync(this.expectedPath(name), content);
    }
  }
}
