/**
 * Numbers of event descriptors, by which the kernel tells answers apart.
 *
 * The kernel gives an event the lowest free number, and remembers it also when the process that
 * had the descriptor is dead. Until such an orphan is answered, no other event may get its number.
 * So the successor takes the number itself. For that to be possible, events get numbers that
 * nothing else of ours has: the low ones, which a starting process uses, are all occupied.
 *
 * @module
 */
import { readdirSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { close, duplicateTo } from "../../../ffi/file.ts";
import { duplicate } from "../../../ffi/pidfd.ts";

/** A process of ours has some thirty descriptors when it starts; the others are packs. */
const lowNumbers = 256;

export class EventDescriptors {
  readonly #path: string;
  /** An open file whose duplicates stand for "taken". */
  readonly plug: number;

  /** @param path of the open file, which this process has open by no other descriptor */
  constructor(plug: number, path: string) {
    this.plug = plug;
    this.#path = realpathSync(path);
  }

  /** Takes a number until `dispose`. @returns false if something else of this process has it */
  reserve(fd: number): boolean {
    const found = duplicate(this.plug, fd);
    if (found === fd) return true;
    close(found);
    return false;
  }

  occupyLow(): void {
    for (;;) {
      const fd = duplicate(this.plug, 0);
      if (fd < lowNumbers) continue;
      close(fd);
      return;
    }
  }

  /** Gives all numbers back, and closes the file. */
  release(): void {
    for (const name of readdirSync("/proc/self/fd"))
      if (linkOf(name) === this.#path) close(Number(name));
  }
}

/**
 * How many events may be held at a time: half of the descriptors this process may have, the others
 * are packs and connections. Without one left, the kernel refuses an event, and its reader fails.
 *
 * @param limits of the process: proc_pid_limits(5); the soft one, which the runtime has raised
 */
export function heldEventsMax(limits = readFileSync("/proc/self/limits", "latin1")): number {
  const soft = /^Max open files +(\d+)/m.exec(limits)?.[1];
  return soft === undefined ? Infinity : Number(soft) >>> 1;
}

/** Closes the descriptor of an answered event, or keeps its number from the next one. */
export function disposeEvent(fd: number, plug: number): void {
  if (fd < lowNumbers) duplicateTo(plug, fd);
  else close(fd);
}

function linkOf(name: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${name}`);
  } catch {
    return undefined; // That of the listing itself, closed by now.
  }
}
