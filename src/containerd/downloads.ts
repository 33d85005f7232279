/**
 * Which layers containerd is downloading: as files in its content store, before they are blobs.
 *
 * A download ("ingest") is a folder of the content store that holds what of the blob is there in
 * `data`, the name of the download in `ref` and the size of the blob in `total`; at the end `data`
 * is renamed to the blob's own name (plugins/content/local/store.go, writer.go).
 *
 * @module
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describeError } from "../errors.ts";
import type { BlobNote } from "../snapshot/contract.ts";
import { KiB } from "../util/bytes.ts";
import type { Logger } from "../util/logger.ts";
import { ingestFolder } from "./content-store.ts";

export interface LayerDownload {
  readonly blob: BlobNote;
  /** The part of the blob that is there. */
  readonly file: string;
}

/**
 * `<namespace>/<number>/<name>` (core/metadata/content.go), the name of a layer's blob being its
 * digest with a prefix (core/remotes/handlers.go).
 */
const layerRef = /^([^/]+)\/[0-9]+\/layer-(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/**
 * How often is looked: at once where something is new, for the folder of a download appears before
 * its name and its size are in it; then ever more seldom. Looking costs some 20 µs. (The runtime's
 * own way to be told, fs.watch, opens what appears in the folder, and has a history of crashes.)
 */
const lookMsMin = 5;
const lookMsMax = 100;
/** So long after a layer was about to be unpacked, the downloads of those above it may begin. */
const watchedMs = 600_000;
/** What has not grown for so long was given up, and may be gone on with. */
const staleMs = 10_000;
/** Of a name or a number. */
const textBytesMax = 4 * KiB;

export interface DownloadWatcherOptions {
  readonly containerdRoot: string;
  readonly onDownload: (download: LayerDownload) => void;
  readonly log: Logger;
}

export class DownloadWatcher {
  readonly #options: DownloadWatcherOptions;
  readonly #folder: string;
  /** The folders that are there, and whether it is known what they are. */
  readonly #seen = new Map<string, boolean>();
  /** Until when is looked, on the clock of `performance.now`. */
  #awakeUntilMs = 0;
  #timer: Timer | undefined;

  constructor(options: DownloadWatcherOptions) {
    this.#options = options;
    this.#folder = ingestFolder(options.containerdRoot);
  }

  /** To be called when a layer is about to be unpacked: watches from now on for a while. */
  watch(): void {
    this.#awakeUntilMs = performance.now() + watchedMs;
    this.#scanAfter(lookMsMin);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#seen.clear();
  }

  /** Layers are built when they are there, as always. */
  #giveUp(error: unknown): void {
    const fields = { folder: this.#folder, reason: describeError(error) };
    this.#options.log.debug(fields, "downloads of containerd cannot be watched");
    this.close();
  }

  #scanAfter(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#scan(delayMs), delayMs);
    this.#timer.unref();
  }

  #scan(delayMs: number): void {
    if (performance.now() > this.#awakeUntilMs) return this.close();
    const names = this.#list();
    if (names === undefined) return;
    const hasNew = names.some((name) => !this.#seen.has(name));
    const present = new Set(names);
    for (const name of this.#seen.keys()) if (!present.has(name)) this.#seen.delete(name);
    for (const name of names) {
      if (this.#seen.get(name) !== true) this.#seen.set(name, this.#look(name));
    }
    this.#scanAfter(hasNew ? lookMsMin : Math.min(2 * delayMs, lookMsMax));
  }

  /** Undefined where it cannot be read, which is given up then. */
  #list(): string[] | undefined {
    try {
      return readdirSync(this.#folder);
    } catch (error) {
      this.#giveUp(error);
      return undefined;
    }
  }

  /** False where not all of it is there yet. */
  #look(name: string): boolean {
    const folder = join(this.#folder, name);
    const ref = readText(join(folder, "ref"));
    if (ref === "") return false;
    const [, namespace, digest] = layerRef.exec(ref) ?? [];
    if (digest === undefined) return true;
    const total = readText(join(folder, "total"));
    if (total === "") return false;
    if (!/^[1-9][0-9]{0,14}$/.test(total)) return true;
    const file = join(folder, "data");
    if (!isWritten(file)) return false;
    this.#options.onDownload({ blob: { digest, sizeBytes: Number(total), namespace }, file });
    return true;
  }
}

/** Whether somebody has written to the file just now. */
function isWritten(path: string): boolean {
  try {
    return Date.now() - statSync(path).mtimeMs < staleMs;
  } catch {
    return false;
  }
}

/** Empty where there is nothing to read. */
function readText(path: string): string {
  try {
    return statSync(path).size > textBytesMax ? "" : readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
