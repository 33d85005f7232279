/**
 * What the first node that started an image learned, for those that come after it.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { LazyImage } from "./images.ts";
import type { LazyNode } from "./node.ts";

export class NodeTraces {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Nothing where another node has done so before. */
  async exportFrom({ daemon }: LazyNode, lazy: LazyImage, reference: string): Promise<void> {
    const file = this.#fileOf(lazy);
    if (!existsSync(file)) await daemon?.cli("trace", "export", reference, file);
  }

  /** Throws where no node has started the image. */
  async importTo({ daemon }: LazyNode, lazy: LazyImage, reference: string): Promise<void> {
    await daemon?.cli("trace", "import", reference, this.#fileOf(lazy));
  }

  #fileOf({ image }: LazyImage): string {
    return join(this.#folder, `${image.name.replace(":", "-")}.trace`);
  }
}
