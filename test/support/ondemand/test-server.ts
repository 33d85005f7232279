/**
 * dedupd in the process of a test: its packs in a folder, its registries as the test says.
 *
 * @module
 */
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { configSchema } from "../../../src/config/schema.ts";
import type { z } from "zod";
import { OnDemandServer } from "../../../src/ondemand/on-demand-server.ts";
import type { RegistryClient } from "../../../src/registry/contract.ts";
import type { Logger } from "../../../src/util/logger.ts";

export interface LogLine {
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

type LazyInput = z.input<typeof configSchema>["lazy"];

export class TestServer implements AsyncDisposable {
  readonly #folder = scratchFolder("dedupd");
  readonly log: LogLine[] = [];
  readonly crashes: string[] = [];
  server: OnDemandServer;
  readonly #client: Pick<RegistryClient, "blobRange" | "blobParts">;
  readonly #lazy: LazyInput;

  /** @param lazy of the configuration; the backend is `eager`, the background off */
  constructor(client: Pick<RegistryClient, "blobRange" | "blobParts">, lazy: LazyInput = {}) {
    this.#client = client;
    this.#lazy = lazy;
    this.server = this.#make();
  }

  get root(): string {
    return this.#folder.path;
  }

  packPath(packId: number): string {
    return join(this.root, "packs", `${packId}.pack`);
  }

  /** Ends it in good order, and starts another one on the same root. */
  async restart(): Promise<void> {
    await this.server.close();
    this.server = this.#make();
    await this.server.start();
  }

  /** Resolves when a pack has come to a state. */
  async untilComplete(packId: number): Promise<void> {
    let after = 0;
    for (;;) {
      if (this.server.pack(packId).state === "complete") return;
      const { events, last } = await this.server.events(after);
      if (events.some((event) => event.kind === "complete" && event.packId === packId)) return;
      after = last;
    }
  }

  #make(): OnDemandServer {
    const lazy = { backend: "eager", background: "off", ...this.#lazy } as const;
    const config = configSchema.parse({ root: this.root, lazy });
    const note = (fields: object, message: string) => {
      this.log.push({ message, fields: fields as Record<string, unknown> });
    };
    const log: Logger = { debug: note, info: note, warn: note, error: note };
    const onCrash = (error: Error) => void this.crashes.push(error.message);
    return new OnDemandServer({ config, log, keeper: undefined, onCrash, client: this.#client });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
    this.#folder[Symbol.dispose]();
  }
}
