/**
 * Records what the start of an image reads: from the first read after its packs were exposed for
 * the first time, across all its packs, until a time is over or enough was read.
 *
 * @module
 */
import { describeError } from "../../errors.ts";
import type { Clock } from "../../registry/clock.ts";
import { formatReference } from "../../registry/reference.ts";
import { toHex } from "../../util/bytes.ts";
import type { Logger } from "../../util/logger.ts";
import type { FillablePack } from "../fillable-pack.ts";
import { type TraceEntry, tracePiecesMax } from "./format.ts";
import { mergeTraces } from "./merge.ts";
import type { TraceStore } from "./store.ts";

/** Programs are ready by then, or read what their work needs. */
export const sessionMs = 60_000;

export interface StartRecorderOptions {
  readonly store: TraceStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** The trace of the image has changed. */
  readonly onStored: (image: string) => void;
}

interface Session {
  readonly image: string;
  readonly packs: Set<FillablePack>;
  /** In the order of their first reads, by their hashes. */
  readonly entries: Map<string, TraceEntry>;
  /** Of the first read. */
  startMs: number | undefined;
  cancelEnd: () => void;
}

/** Under which name the trace of a pack is kept. */
export function imageOf({ reference }: FillablePack): string {
  return formatReference(reference);
}

export class StartRecorder {
  readonly #options: StartRecorderOptions;
  readonly #sessions = new Map<string, Session>();

  constructor(options: StartRecorderOptions) {
    this.#options = options;
  }

  /** Images whose start is under way. */
  get recording(): number {
    return this.#sessions
      .values()
      .filter(({ startMs }) => startMs !== undefined)
      .toArray().length;
  }

  /** A pack is exposed for the first time: what is read of its image next is its start. */
  arm(pack: FillablePack): void {
    const image = imageOf(pack);
    const entries = new Map<string, TraceEntry>();
    const idle = { image, entries, packs: new Set<FillablePack>(), cancelEnd: () => undefined };
    const session = this.#sessions.get(image) ?? { ...idle, startMs: undefined };
    session.packs.add(pack);
    this.#sessions.set(image, session);
  }

  /** The pack is gone; a start that has begun is still a start. */
  forget(pack: FillablePack): void {
    const session = this.#sessions.get(imageOf(pack));
    if (session === undefined || session.startMs !== undefined) return;
    session.packs.delete(pack);
    if (session.packs.size === 0) this.#sessions.delete(session.image);
  }

  /** A piece is read for the first time. */
  note(pack: FillablePack, piece: number): void {
    const session = this.#sessions.get(imageOf(pack));
    if (session === undefined) return;
    session.packs.add(pack);
    const nowMs = this.#options.clock.nowMs();
    if (session.startMs === undefined) {
      session.startMs = nowMs;
      session.cancelEnd = this.#options.clock.after(sessionMs, () => this.#end(session));
    }
    const { pieces } = pack;
    const sha256 = toHex(pieces.sha256Of(piece));
    if (session.entries.has(sha256)) return;
    session.entries.set(sha256, {
      sha256,
      digest: pieces.origin.digest,
      offsetBytes: pieces.packOffsetOf(piece),
      sizeBytes: pieces.sizeOf(piece),
      atMs: nowMs - session.startMs,
      starts: "x",
    });
    if (session.entries.size >= tracePiecesMax) this.#end(session);
  }

  /** What is known of an image, the start that is under way included. */
  traceOf(image: string): readonly TraceEntry[] {
    const stored = this.#options.store.read(image);
    const session = this.#sessions.get(image);
    return session?.startMs === undefined ? stored : mergeInto(stored, session);
  }

  /** Stores what was recorded so far: the process ends. */
  close(): void {
    for (const session of this.#sessions.values()) {
      if (session.startMs !== undefined) this.#end(session);
    }
  }

  #end(session: Session): void {
    const { store, log, onStored } = this.#options;
    const { image, entries } = session;
    session.cancelEnd();
    this.#sessions.delete(image);
    try {
      store.write(image, mergeInto(store.read(image), session));
      log.info({ image, pieces: entries.size }, "recorded what the start of an image reads");
      onStored(image);
    } catch (error) {
      log.warn({ image, reason: describeError(error) }, "cannot store the trace of an image");
    }
  }
}

function mergeInto(stored: readonly TraceEntry[], { packs, entries }: Session): TraceEntry[] {
  // Nobody sees what is read of a pack that is complete.
  const seen = [...packs].filter(({ isFull }) => !isFull);
  const couldRead = ({ sha256 }: TraceEntry) => {
    const hash = Buffer.from(sha256, "hex");
    return seen.some((pack) => pack.findPiece(hash) !== undefined);
  };
  return mergeTraces(stored, [...entries.values()], couldRead);
}
