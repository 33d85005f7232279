/**
 * A thread that answers the kernel: at once if all that is to be read is there, else it passes the
 * event on. It gets no messages; what it has to know is in memory that all threads share.
 *
 * The order for each event: taken (the kernel notes it in the journal), answered, forgotten in the
 * journal, closed. A process that ends between two of these leaves an event that is answered twice,
 * which does no harm, never one that is not answered, nor an answer that meets another event.
 *
 * @module
 */
import { answerEvent, eventAt, forgetEvent, noteInode } from "../../../ffi/fanotify.ts";
import { type FanotifyEvent, nextEventPosition, readEvents } from "../../../ffi/fanotify.ts";
import { duplicateTo } from "../../../ffi/file.ts";
import { inodeOf } from "../../../ffi/status.ts";
import { Waiter } from "../../../ffi/wake.ts";
import { defined } from "../../util/assert.ts";
import { type CancelFlag, isCancelled } from "../../util/cancel-flag.ts";
import { type PackRow, PackTable, type SharedTable } from "../fuse/pack-table.ts";
import { PackViews } from "../fuse/pack-view.ts";
import type { ReadLog } from "../read-log.ts";
import { disposeEvent } from "./descriptors.ts";
import { FanotifyJournal, type WatchedRead } from "./journal.ts";
import { ReadAhead, type Window } from "./read-ahead.ts";
import { Watches } from "./watches.ts";
import { failpoint } from "../../util/failpoint.ts";

export interface ReaderOptions {
  readonly group: number;
  /** Can be read once the thread is to end. */
  readonly wake: number;
  readonly stopFlag: CancelFlag;
  readonly journalPath: string;
  /** Which part of the journal is this thread's. */
  readonly thread: number;
  /** Reads that this thread may hold at a time. */
  readonly heldMax: number;
  readonly packs: SharedTable;
  readonly watches: SharedArrayBuffer;
  /** Stands for numbers that are taken (descriptors.ts). */
  readonly plug: number;
}

/** Somebody waits for bytes that are not there, or of a file nobody has exposed. */
export interface PassedRead extends WatchedRead {
  readonly kind: "read";
  readonly slot: number;
}

/** Somebody reads in order and will soon need these. */
export interface PassedWindow extends Window {
  readonly kind: "ahead";
  readonly packId: number;
}

/** How often it is looked whether a slot is free again, with thousands of readers waiting. */
const fullIntervalMs = 10;
const ourPid = process.pid;

export class EventReader {
  readonly #options: ReaderOptions;
  readonly #post: (message: PassedRead | PassedWindow) => void;
  readonly #packs: PackTable;
  readonly #views = new PackViews();
  readonly #watches: Watches;
  readonly #journal: FanotifyJournal;
  readonly #area: Uint8Array;
  readonly #view: DataView;
  readonly #readAheads = new Map<number, ReadAhead>();

  constructor(options: ReaderOptions, post: (message: PassedRead | PassedWindow) => void) {
    this.#options = options;
    this.#post = post;
    this.#packs = new PackTable(options.packs);
    this.#watches = new Watches(options.watches);
    this.#journal = new FanotifyJournal(options.journalPath, options.heldMax);
    this.#area = this.#journal.area(options.thread);
    const { buffer, byteOffset, byteLength } = this.#area;
    this.#view = new DataView(buffer, byteOffset, byteLength);
  }

  /** Serves until the stop flag is set. */
  run(): void {
    const { group, wake, stopFlag } = this.#options;
    using waiter = new Waiter(group, wake);
    while (!isCancelled(stopFlag)) {
      const filled = readEvents(group, this.#area);
      if (filled === 0) waiter.wait();
      else this.#serveAll(filled);
    }
  }

  #serveAll(filled: number): void {
    // First of all: of an event without, a successor does not know which file it is about.
    for (const { fd, position } of this.#events()) noteInode(this.#view, position, inodeOf(fd));
    for (const event of this.#events()) this.#serve(event, defined(event.inode, "its inode"));
    this.#area.fill(0, 0, filled);
  }

  *#events(): Generator<FanotifyEvent, void> {
    for (let position = 0; ; position = nextEventPosition(this.#view, position)) {
      const event = eventAt(this.#view, position);
      if (event === undefined) return;
      if (event.fd >= 0) yield event;
    }
  }

  #serve(event: FanotifyEvent, inode: number): void {
    const packId = this.#watches.packOf(inode);
    if (packId === undefined) this.#pass(event, inode);
    else if (event.pid === ourPid && this.#giveSilent(packId, event)) this.#allow(event, inode);
    else {
      if (this.#isThere(packId, event, this.#packs.reads)) this.#allow(event, inode);
      else this.#pass(event, inode);
      this.#lookAhead(packId, event);
    }
  }

  /** @param reads where it is noted that it is read */
  #isThere(packId: number, { offsetBytes, lengthBytes }: Window, reads?: ReadLog): boolean {
    const holds = (row: PackRow) => this.#views.holds(row, offsetBytes, lengthBytes, reads);
    return this.#inPack(packId, holds) ?? false;
  }

  /** Undefined for a pack that nobody has exposed. */
  #inPack<T>(packId: number, use: (row: PackRow) => T): T | undefined {
    const row = this.#packs.enter(packId);
    if (row === undefined) return undefined;
    try {
      return use(row);
    } finally {
      this.#packs.leave(packId);
    }
  }

  #allow(event: FanotifyEvent, inode: number): void {
    try {
      failpoint("answer.before");
      answerEvent(this.#options.group, event.fd, 0);
      failpoint("answer.after");
    } catch {
      // The main thread tries again, says why, and goes on trying.
      this.#pass(event, inode);
      return;
    }
    forgetEvent(this.#view, event.position);
    disposeEvent(event.fd, this.#options.plug);
  }

  #pass({ fd, offsetBytes, lengthBytes, position }: FanotifyEvent, inode: number): void {
    const read = { fd, inode, offsetBytes, lengthBytes };
    failpoint("pass.before");
    const slot = this.#hold(read);
    failpoint("pass.held");
    forgetEvent(this.#view, position);
    this.#post({ kind: "read", ...read, slot });
  }

  #hold(read: WatchedRead): number {
    for (;;) {
      const slot = this.#journal.hold(this.#options.thread, read);
      if (slot !== undefined) return slot;
      Bun.sleepSync(fullIntervalMs);
    }
  }

  /** The event's own descriptor raises no events: what the filler needs to write to the pack. */
  #giveSilent(packId: number, { fd }: FanotifyEvent): boolean {
    const wanted = this.#watches.takeWanted(packId);
    if (wanted !== undefined) duplicateTo(fd, wanted);
    return wanted !== undefined;
  }

  #lookAhead(packId: number, { offsetBytes, lengthBytes }: FanotifyEvent): void {
    if (lengthBytes === Infinity) return;
    let readAhead = this.#readAheads.get(packId);
    if (readAhead === undefined) this.#readAheads.set(packId, (readAhead = new ReadAhead()));
    const fileEnd = (at: number, limitBytes: number) =>
      this.#inPack(packId, (row) => this.#views.piecesOf(row).fileEndOf(at, limitBytes)) ?? at;
    const window = readAhead.observe(offsetBytes, lengthBytes, fileEnd);
    if (window === undefined || this.#isThere(packId, window)) return;
    this.#post({ kind: "ahead", packId, ...window });
  }
}
