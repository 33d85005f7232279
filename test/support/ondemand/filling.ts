/**
 * What fills packs, without a backend: tests are the readers.
 *
 * @module
 */
import type { z } from "zod";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { configSchema } from "../../../src/config/schema.ts";
import { createLogger } from "../../../src/log.ts";
import { EventLog } from "../../../src/ondemand/event-log.ts";
import { createFillEngine, type FillEngine } from "../../../src/ondemand/fill/engine.ts";
import { FillablePack } from "../../../src/ondemand/fillable-pack.ts";
import type { RegistryClient } from "../../../src/registry/contract.ts";
import { type LazyPackFixture, packContent, writeLazyPack } from "./lazy-pack.ts";

export interface FillingOptions {
  readonly lazy?: z.input<typeof configSchema>["lazy"];
  readonly workers?: number;
  /** Where `packs` is made; default: a scratch folder. */
  readonly root?: string;
}

export class Filling implements AsyncDisposable {
  readonly #folder = scratchFolder("filling");
  readonly root: string;
  readonly engine: FillEngine;
  readonly events = new EventLog();
  readonly #packs = new Map<number, FillablePack>();
  #whenFilled: (() => void) | undefined;

  /** The background is off if `lazy` does not say otherwise. */
  constructor(
    client: Pick<RegistryClient, "blobRange" | "blobParts">,
    options: FillingOptions = {},
  ) {
    const { lazy, workers = 8, root = this.#folder.path } = options;
    this.root = root;
    const config = configSchema.parse({
      lazy: { background: "off", ...lazy },
      dedupd: { workers },
    });
    this.engine = createFillEngine({
      config,
      client,
      events: this.events,
      log: createLogger("silent"),
      onFilled: () => this.#whenFilled?.(),
      onCrash: (error) => {
        throw error;
      },
    });
  }

  open(packId: number, fixture: LazyPackFixture, image?: string): FillablePack {
    const path = writeLazyPack(this.root, packId, fixture, image);
    const pack = FillablePack.open(packId, path);
    this.#packs.set(packId, pack);
    this.engine.filler.add(pack);
    this.engine.filler.open(packId);
    return pack;
  }

  /** As a reader does; the bytes, which are asserted to be right by who asks. */
  async read(packId: number, offsetBytes: number, lengthBytes: number): Promise<void> {
    await this.engine.filler.demand({ packId, offsetBytes, lengthBytes });
  }

  /** Whether all that is said to be there is there. */
  isRight(pack: FillablePack, fixture: LazyPackFixture): boolean {
    const content = packContent(pack.path, fixture);
    return fixture.pieces.every(({ packOffsetBytes: start, sizeBytes }, piece) => {
      const end = start + sizeBytes;
      if (!pack.presence.has(piece)) return true;
      return content.subarray(start, end).equals(fixture.content.subarray(start, end));
    });
  }

  /** Resolves when the condition holds; it is looked at whenever something came. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.#whenFilled = resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.engine.close();
    await Promise.all([...this.#packs.values()].map((pack) => pack.close()));
    this.#folder[Symbol.dispose]();
  }
}
