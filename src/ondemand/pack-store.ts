/**
 * The lazy packs that are exposed, and which those were when the last process ended.
 *
 * `<id>.exposed` is there from before a pack is exposed until it was withdrawn. A pack whose files
 * are damaged is remembered with the reason; it takes nothing else with it.
 *
 * @module
 */
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AppError, describeError } from "../errors.ts";
import { FillablePack } from "./fillable-pack.ts";
import { presencePaths } from "./presence.ts";

const markerSuffix = ".exposed";

export class PackStore {
  readonly #folder: string;
  readonly #packs = new Map<number, FillablePack>();
  readonly #failures = new Map<number, AppError>();

  /** @param folder `packs` of the root */
  constructor(folder: string) {
    this.#folder = folder;
  }

  get packs(): IterableIterator<FillablePack> {
    return this.#packs.values();
  }

  get failures(): ReadonlyMap<number, AppError> {
    return this.#failures;
  }

  get(packId: number): FillablePack | undefined {
    return this.#packs.get(packId);
  }

  /** Those that were exposed; markers without a pack are removed, it was deleted meanwhile. */
  exposedBefore(): number[] {
    if (!existsSync(this.#folder)) return [];
    const names = readdirSync(this.#folder).filter((name) => name.endsWith(markerSuffix));
    const ids = names.map((name) => Number(name.slice(0, -markerSuffix.length)));
    const [here, gone] = [
      ids.filter((id) => this.#isHere(id)),
      ids.filter((id) => !this.#isHere(id)),
    ];
    for (const id of gone) this.unmark(id);
    return here;
  }

  /**
   * Opens a pack, or returns the one that is open.
   *
   * @throws AppError `not_found`, or `data_loss` where one of its files is damaged
   */
  open(packId: number): FillablePack {
    const known = this.#packs.get(packId);
    if (known !== undefined) return known;
    try {
      const pack = FillablePack.open(packId, this.#pathOf(packId));
      this.#packs.set(packId, pack);
      this.#failures.delete(packId);
      return pack;
    } catch (cause) {
      if (cause instanceof AppError && cause.code === "not_found") throw cause;
      const error = damaged(packId, cause);
      this.#failures.set(packId, error);
      throw error;
    }
  }

  /** Closes it when nobody uses its file any more. */
  async close(packId: number): Promise<void> {
    const pack = this.#packs.get(packId);
    this.#packs.delete(packId);
    this.#failures.delete(packId);
    await pack?.close();
  }

  mark(packId: number): void {
    writeFileSync(this.#markerOf(packId), "", { mode: 0o600 });
  }

  isMarked(packId: number): boolean {
    return existsSync(this.#markerOf(packId));
  }

  /** A pack that was deleted while it was open may have been synced since: that goes, too. */
  unmark(packId: number): void {
    rmSync(this.#markerOf(packId), { force: true });
    if (this.#isHere(packId)) return;
    const { synced } = presencePaths(this.#pathOf(packId));
    rmSync(synced, { force: true });
  }

  #isHere(packId: number): boolean {
    return existsSync(this.#pathOf(packId));
  }

  #pathOf(packId: number): string {
    return join(this.#folder, `${packId}.pack`);
  }

  #markerOf(packId: number): string {
    return join(this.#folder, `${packId}${markerSuffix}`);
  }
}

function damaged(packId: number, cause: unknown): AppError {
  const remedy = cause instanceof AppError ? cause.remedy : undefined;
  const message = `Cannot open lazy pack ${packId}: ${describeError(cause)}`;
  return new AppError("data_loss", message, remedy === undefined ? {} : { remedy });
}
