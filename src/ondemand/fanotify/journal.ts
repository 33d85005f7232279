/**
 * Which events were taken from the kernel and are not answered yet: a mapped file that survives the
 * process, so that its successor can answer in its place.
 *
 * Each thread has an area that the kernel itself writes events to, so that there is no moment in
 * which an event is taken and not noted; and slots, to which events go that have to wait. What is
 * noted is the number of the descriptor, by which the kernel knows the event also after the
 * descriptor is gone, the range, and in slots the inode of the file.
 *
 * Little endian. A page: magic, version, boot; then for each thread the area and the slots. A slot
 * is in use while its first field is not 0; an event in an area, until its descriptor is -1.
 *
 * @module
 */
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  statSync,
  writeSync,
} from "node:fs";
import { eventAt, nextEventPosition } from "../../../ffi/fanotify.ts";
import { KiB } from "../../util/bytes.ts";
import { currentBootId } from "../presence.ts";

const magic = 0x6e_61_66_64_75_64_65_64n; // "dedudfan"
const version = 1;
const headerBytes = 4 * KiB;
/** Room for 85 events: what one read(2) takes at most. */
const areaBytes = 4 * KiB;
const slotBytes = 32;
/** Readers that wait at the same time, at most; more of them wait in the kernel's queue. */
const slotsPerThread = 4096;
const threadBytes = areaBytes + slotsPerThread * slotBytes;
/** Room for that many threads. */
export const journalThreadsMax = 4;
const journalBytes = headerBytes + journalThreadsMax * threadBytes;

const at = { version: 8, boot: 16 } as const;
const field = { fd: 0, inode: 8, offset: 16, length: 24 } as const;

/** The length of an event that names no range. */
const wholeFile = 0xffff_ffff_ffff_ffffn;

/** What was to be read, by whoever waits for the answer. */
export interface WatchedRead {
  /** The number of its descriptor. */
  readonly fd: number;
  /** Of the file; undefined where the process died before it looked. */
  readonly inode: number | undefined;
  readonly offsetBytes: number;
  /** `Infinity`: to the end of the file. */
  readonly lengthBytes: number;
}

export class FanotifyJournal {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #slotsMax: number;
  readonly #searchFrom: number[] = Array.from({ length: journalThreadsMax }, () => 0);
  /** Whether the file was there, made in this boot. */
  readonly isContinued: boolean;

  /**
   * Makes the file where there is none of this boot.
   *
   * @param slotsMax how many of a thread `hold` fills
   */
  constructor(path: string, slotsMax = slotsPerThread) {
    this.#slotsMax = Math.min(slotsPerThread, slotsMax);
    const boot = currentBootId();
    this.isContinued = isOfBoot(path, boot);
    if (!this.isContinued) makeFile(path, boot);
    this.#bytes = Bun.mmap(path, { shared: true });
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
  }

  /** Where a thread has the kernel write events. */
  area(thread: number): Uint8Array {
    const start = areaOf(thread);
    return this.#bytes.subarray(start, start + areaBytes);
  }

  /** Notes an event that has to wait. @returns its slot; undefined if all are in use */
  hold(thread: number, read: WatchedRead): number | undefined {
    const first = areaOf(thread) + areaBytes;
    const from = this.#searchFrom[thread]!;
    for (let count = 0; count < this.#slotsMax; count++) {
      const index = (from + count) % this.#slotsMax;
      const slot = first + index * slotBytes;
      if (this.#view.getInt32(slot + field.fd, true) !== 0) continue;
      this.#searchFrom[thread] = index + 1;
      this.#fill(slot, read);
      return slot;
    }
    return undefined;
  }

  #fill(slot: number, { fd, inode, offsetBytes, lengthBytes }: WatchedRead): void {
    const length = lengthBytes === Infinity ? wholeFile : BigInt(lengthBytes);
    this.#view.setBigUint64(slot + field.inode, BigInt(inode ?? 0), true);
    this.#view.setBigUint64(slot + field.offset, BigInt(offsetBytes), true);
    this.#view.setBigUint64(slot + field.length, length, true);
    // Last, because it makes the slot count; one more, because 0 is a descriptor too.
    this.#view.setInt32(slot + field.fd, fd + 1, true);
  }

  /** The event of the slot is answered. Call before its descriptor is closed. */
  release(slot: number): void {
    this.#view.setInt32(slot + field.fd, 0, true);
  }

  /** Empties the journal: nobody waits for an answer of this group. */
  clear(): void {
    this.#bytes.fill(0, headerBytes);
  }

  /**
   * What a dead process left, now all in slots. An event in an area may be in a slot as well: it
   * was on its way.
   */
  takeOver(): (WatchedRead & { readonly slot: number })[] {
    const found = new Map<number, WatchedRead & { readonly slot: number }>();
    for (let thread = 0; thread < journalThreadsMax; thread++) {
      for (const read of this.#slotsOf(thread)) found.set(read.fd, read);
    }
    for (let thread = 0; thread < journalThreadsMax; thread++) {
      for (const read of eventsIn(this.area(thread))) {
        if (found.has(read.fd)) continue;
        const slot = this.#holdAnywhere(read);
        if (slot !== undefined) found.set(read.fd, { ...read, slot });
      }
      this.area(thread).fill(0);
    }
    return [...found.values()];
  }

  #holdAnywhere(read: WatchedRead): number | undefined {
    for (let thread = 0; thread < journalThreadsMax; thread++) {
      const slot = this.hold(thread, read);
      if (slot !== undefined) return slot;
    }
    return undefined;
  }

  *#slotsOf(thread: number) {
    const first = areaOf(thread) + areaBytes;
    for (let index = 0; index < slotsPerThread; index++) {
      const slot = first + index * slotBytes;
      const fd = this.#view.getInt32(slot + field.fd, true) - 1;
      if (fd < 0) continue;
      const inode = Number(this.#view.getBigUint64(slot + field.inode, true)) || undefined;
      const offsetBytes = Number(this.#view.getBigUint64(slot + field.offset, true));
      const length = this.#view.getBigUint64(slot + field.length, true);
      const lengthBytes = length === wholeFile ? Infinity : Number(length);
      yield { fd, inode, offsetBytes, lengthBytes, slot };
    }
  }
}

function areaOf(thread: number): number {
  return headerBytes + thread * threadBytes;
}

function* eventsIn(area: Uint8Array): Generator<WatchedRead> {
  const view = new DataView(area.buffer, area.byteOffset, area.byteLength);
  for (let position = 0; ; position = nextEventPosition(view, position)) {
    const event = eventAt(view, position);
    if (event === undefined) return;
    const { fd, inode, offsetBytes, lengthBytes } = event;
    if (fd >= 0) yield { fd, inode, offsetBytes, lengthBytes };
  }
}

function isOfBoot(path: string, boot: string): boolean {
  if (!existsSync(path) || statSync(path).size !== journalBytes) return false;
  const header = readFileSync(path).subarray(0, headerBytes);
  const isOurs = header.readBigUInt64LE(0) === magic && header.readUInt32LE(at.version) === version;
  return isOurs && header.subarray(at.boot, at.boot + boot.length).toString("latin1") === boot;
}

/** All pages are written, so that a full disk is met here and not by a store to the mapping. */
function makeFile(path: string, boot: string): void {
  const bytes = Buffer.alloc(journalBytes);
  bytes.writeBigUInt64LE(magic, 0);
  bytes.writeUInt32LE(version, at.version);
  bytes.write(boot, at.boot, "latin1");
  // Not a new file: whoever serves the group holds a lock on this one.
  const file = openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
  try {
    writeSync(file, bytes, 0, bytes.length, 0);
  } finally {
    closeSync(file);
  }
}
