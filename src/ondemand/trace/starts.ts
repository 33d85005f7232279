/**
 * Makes each start of an image faster than the last: records what it reads, fetches that when the
 * image comes again, and reads ahead of whoever reads what was read before.
 *
 * All of it is prefetch: what somebody waits for goes first.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import { AppError } from "../../errors.ts";
import type { Clock } from "../../registry/clock.ts";
import { formatReference, parseReference } from "../../registry/reference.ts";
import { MiB } from "../../util/bytes.ts";
import type { Logger } from "../../util/logger.ts";
import type { ReadRequest } from "../contract.ts";
import type { ImageTrace, TraceStatus, TraceStored } from "../control.ts";
import type { AheadPolicy } from "../fill/ahead-policy.ts";
import type { FillCounts } from "../fill/counts.ts";
import type { Filler } from "../fill/filler.ts";
import { runsOf } from "../fill/span.ts";
import type { Usefulness } from "../fill/usefulness.ts";
import type { FillablePack } from "../fillable-pack.ts";
import { formatTrace, parseTrace, type TraceEntry } from "./format.ts";
import { Predictor, windowPieces } from "./predictor.ts";
import { imageOf, StartRecorder } from "./recorder.ts";
import { replayRuns } from "./replay.ts";
import { traceFileName, TraceStore } from "./store.ts";

/** A read of more is not that of a reader, but of a process that took over and asks for all. */
const readBytesMax = 16 * MiB;

export interface ImageStartsOptions {
  /** Of the traces. */
  readonly folder: string;
  readonly filler: Pick<Filler, "prefetchRuns" | "prefetchNext">;
  readonly usefulness: Usefulness;
  readonly counts: Pick<FillCounts, "readBytes">;
  /** What is there is read while containers start: the background waits for that as well. */
  readonly policy: Pick<AheadPolicy, "noteDemand">;
  readonly clock: Clock;
  /** False: nothing is recorded, replayed or predicted; what prefetch is good for is counted. */
  readonly isOn: boolean;
  readonly log: Logger;
}

export class ImageStarts {
  readonly #options: ImageStartsOptions;
  readonly #store: TraceStore;
  readonly #recorder: StartRecorder;
  readonly #predictor = new Predictor();
  /** By image: all that are exposed. */
  readonly #packs = new Map<string, Set<FillablePack>>();
  readonly #stopped = new Set<string>();

  constructor(options: ImageStartsOptions) {
    this.#options = options;
    const { folder, clock, log } = options;
    this.#store = new TraceStore(folder, log);
    const onStored = (image: string) => this.#learn(image);
    this.#recorder = new StartRecorder({ store: this.#store, clock, log, onStored });
  }

  /** Learns from the traces there are, the newest first, as many as it can remember. */
  async learnAll(): Promise<void> {
    if (!this.#options.isOn) return;
    const learned: [string, readonly TraceEntry[]][] = [];
    let { room } = this.#predictor;
    for (const name of this.#store.names()) {
      await setImmediate();
      const entries = this.#store.readFile(name);
      room -= entries.length;
      if (room < 0) break;
      learned.push([name, entries]);
    }
    for (const [name, entries] of learned.reverse()) this.#predictor.learn(name, entries);
  }

  get status(): TraceStatus {
    return { recording: this.#recorder.recording, predictorStopped: [...this.#stopped] };
  }

  /** @param isNew nobody has exposed it before: its image was claimed just now */
  exposed(pack: FillablePack, isNew: boolean): void {
    const image = imageOf(pack);
    const packs = this.#packs.get(image) ?? new Set();
    this.#packs.set(image, packs.add(pack));
    if (!isNew || !this.#options.isOn) return;
    this.#recorder.arm(pack);
    this.#predictor.forgetReader(traceFileName(image));
    const hashes = this.#store.read(image).map(({ sha256 }) => sha256);
    const runs = replayRuns(pack, hashes);
    if (runs.length > 0) this.#options.filler.prefetchRuns(pack.packId, runs);
  }

  withdrawn(pack: FillablePack): void {
    const image = imageOf(pack);
    this.#recorder.forget(pack);
    const packs = this.#packs.get(image);
    packs?.delete(pack);
    if (packs?.size !== 0) return;
    this.#packs.delete(image);
    this.#stopped.delete(image);
  }

  completed(pack: FillablePack): void {
    this.#options.usefulness.noteComplete(pack);
  }

  /** Whether earlier starts tell more of the pack than its author does. */
  knows(pack: FillablePack): boolean {
    if (!this.#options.isOn) return false;
    const entries = this.#store.read(imageOf(pack));
    return entries.some(({ sha256 }) => pack.findPiece(Buffer.from(sha256, "hex")) !== undefined);
  }

  /** Somebody reads, what is there or what is not. */
  noteRead(pack: FillablePack, { offsetBytes, lengthBytes }: ReadRequest): void {
    if (lengthBytes > readBytesMax) return;
    const [first, end] = pack.pieces.covering(offsetBytes, lengthBytes);
    for (let piece = first; piece < end; piece++) this.notePiece(pack, piece);
  }

  notePiece(pack: FillablePack, piece: number): void {
    if (!pack.markRead(piece)) return;
    this.#options.counts.readBytes += pack.pieces.sizeOf(piece);
    this.#options.usefulness.noteRead(pack, piece);
    this.#options.policy.noteDemand();
    if (!this.#options.isOn) return;
    this.#recorder.note(pack, piece);
    this.#predict(pack, piece);
  }

  /** Throws `invalid_argument` for no name of an image, `not_found` where there is no trace. */
  trace(image: string): ImageTrace {
    const entries = this.#recorder.traceOf(formatReference(parseReference(image)));
    if (entries.length > 0) return { trace: formatTrace(entries) };
    throw new AppError("not_found", `There is no trace of "${image}"`, {
      remedy: "it is recorded when the image is lazy and a container of it starts",
    });
  }

  putTrace(image: string, { trace }: ImageTrace): TraceStored {
    const name = formatReference(parseReference(image));
    const entries = parseTrace(trace, "the trace");
    this.#store.write(name, entries);
    this.#learn(name);
    return { pieces: entries.length };
  }

  close(): void {
    this.#recorder.close();
  }

  #learn(image: string): void {
    this.#predictor.learn(traceFileName(image), this.#store.read(image));
  }

  #predict(pack: FillablePack, piece: number): void {
    const image = imageOf(pack);
    if (this.#stopped.has(image)) return;
    const name = traceFileName(image);
    const following = this.#predictor.following(name, pack.pieces.sha256Of(piece));
    if (following.length === 0) return;
    if (this.#isWrong(image)) {
      this.#stopped.add(image);
      this.#options.log.info({ image }, "what follows what has changed: no more predictions");
      return;
    }
    for (const other of this.#packs.get(image) ?? []) {
      const pieces = following.flatMap((sha256) => other.findPiece(sha256) ?? []);
      this.#options.filler.prefetchNext(other.packId, runsOf(pieces), "predictor");
    }
  }

  /** Fewer than half were used; those that were predicted just now may still be. */
  #isWrong(image: string): boolean {
    let [pieces, used] = [0, 0];
    for (const pack of this.#packs.get(image) ?? []) {
      const { predictor } = this.#options.usefulness.ofPack(pack);
      pieces += predictor.pieces - predictor.unseenPieces;
      used += predictor.usedPieces;
    }
    return used * 2 < pieces - 2 * windowPieces;
  }
}
