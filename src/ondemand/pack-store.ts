/**
 * The lazy packs that are exposed, and which those were when the last process ended.
 *
 * `<id>.exposed` is there from before a pack is exposed until it was withdrawn. A pack whose files
 * are damaged is remembered with the reason; it takes nothing else with it.
 *
 * @module
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isOpenElsewhere } from "../../ffi/lease.ts";
import { AppError, describeError } from "../errors.ts";
import { exposedPacks } from "../store/exposed-packs.ts";
import { exposedMarkerPath, lazyPackFiles } from "../store/paths.ts";
import type { BackendName } from "./contract.ts";
import { FillablePack } from "./fillable-pack.ts";
import { PieceMap, pieceMapPath } from "./piece-map.ts";
import { currentBootId, Presence } from "./presence.ts";

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
    const marked = this.#marked();
    for (const packId of marked) if (!this.#isHere(packId)) this.unmark(packId);
    return marked.filter((packId) => this.#isHere(packId));
  }

  #marked(): number[] {
    return exposedPacks({ packs: this.#folder });
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

  mark(packId: number, backend: BackendName): void {
    writeFileSync(this.#markerOf(packId), `${currentBootId()} ${backend}\n`, { mode: 0o600 });
  }

  /**
   * The backend through which layers of this boot may be mounted, as the last process has left
   * them; undefined for none. To be called before any pack is opened.
   *
   * A complete pack is read without events, but a FUSE file needs its server as long as it is open.
   */
  backendInUse(): BackendName | undefined {
    const boot = currentBootId();
    const served = new Set<string | undefined>();
    for (const packId of this.#marked()) {
      if (!this.#isHere(packId)) continue;
      const [bootId, backend] = readFileSync(this.#markerOf(packId), "latin1").trim().split(" ");
      if (bootId === boot && this.#isReadThrough(packId, backend)) served.add(backend);
    }
    return mountable.find((name) => served.has(name));
  }

  #isReadThrough(packId: number, backend: string | undefined): boolean {
    if (backend !== "fanotify") return true;
    const path = this.#pathOf(packId);
    return !isKnownComplete(path) && isOpenElsewhere(path);
  }

  /** Marked, and not deleted. */
  isLeft(packId: number): boolean {
    return this.isMarked(packId) && this.#isHere(packId);
  }

  isMarked(packId: number): boolean {
    return existsSync(this.#markerOf(packId));
  }

  /** A pack that was deleted while it was open may have got files since: those go, too. */
  unmark(packId: number): void {
    if (!this.#isHere(packId)) {
      for (const path of lazyPackFiles({ packs: this.#folder }, packId))
        rmSync(path, { force: true });
    }
    // Last: with it, the number can be another pack's (store/pack-allocator.ts).
    rmSync(this.#markerOf(packId), { force: true });
  }

  #isHere(packId: number): boolean {
    return existsSync(this.#pathOf(packId));
  }

  #pathOf(packId: number): string {
    return join(this.#folder, `${packId}.pack`);
  }

  #markerOf(packId: number): string {
    return exposedMarkerPath({ packs: this.#folder }, packId);
  }
}

/** Those that give out what is not complete; readers of the first would be given zeros. */
const mountable: readonly BackendName[] = ["fanotify", "fuse"];

/** A damaged pack is not. */
function isKnownComplete(path: string): boolean {
  try {
    const { length } = new PieceMap(readFileSync(pieceMapPath(path)), path);
    const isThere = Presence.read(path, length);
    for (let piece = 0; piece < length; piece++) if (!isThere(piece)) return false;
    return true;
  } catch {
    return false;
  }
}

function damaged(packId: number, cause: unknown): AppError {
  const remedy = cause instanceof AppError ? cause.remedy : undefined;
  const message = `Cannot open lazy pack ${packId}: ${describeError(cause)}`;
  return new AppError("data_loss", message, remedy === undefined ? {} : { remedy });
}
