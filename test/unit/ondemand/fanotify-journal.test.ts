import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ScratchFolder, scratchFolder } from "../../../scripts/lib/temp.ts";
import { heldEventsMax } from "../../../src/ondemand/fanotify/descriptors.ts";
import { FanotifyJournal } from "../../../src/ondemand/fanotify/journal.ts";
import { fanotifyEvent } from "../../support/ondemand/fanotify-event.ts";

let scratch: ScratchFolder;
let path: string;

beforeEach(() => {
  scratch = scratchFolder("journal");
  path = join(scratch.path, "journal");
});

afterEach(() => scratch[Symbol.dispose]());

const read = { fd: 300, inode: 2 ** 40 + 1, offsetBytes: 2 ** 36, lengthBytes: 4096 };

describe("FanotifyJournal", () => {
  test("has nothing at first", () => {
    const journal = new FanotifyJournal(path);
    expect(journal.isContinued).toBe(false);
    expect(journal.takeOver()).toEqual([]);
  });

  test("keeps what is held for the next process, until it is released", () => {
    const before = new FanotifyJournal(path);
    const slot = before.hold(1, read)!;
    before.hold(0, { ...read, fd: 0, lengthBytes: Infinity });
    const after = new FanotifyJournal(path);
    expect(after.isContinued).toBe(true);
    const whole = { ...read, fd: 0, lengthBytes: Infinity };
    expect(after.takeOver()).toMatchObject([whole, { ...read, slot }]);
    after.release(slot);
    expect(new FanotifyJournal(path).takeOver()).toMatchObject([whole]);
  });

  test("finds events the kernel wrote, and holds them", () => {
    const before = new FanotifyJournal(path);
    const event = fanotifyEvent({ fd: 7, offsetBytes: 8192, lengthBytes: 100 });
    before.area(0).set(event);
    before.area(0).set(fanotifyEvent({ fd: -1, offsetBytes: 0, lengthBytes: 1 }), event.length);
    before.area(3).set(fanotifyEvent({ fd: 8 }));
    const found = [
      { fd: 7, inode: undefined, offsetBytes: 8192, lengthBytes: 100 },
      { fd: 8, inode: undefined, offsetBytes: 0, lengthBytes: Infinity },
    ];
    expect(new FanotifyJournal(path).takeOver()).toMatchObject(found);
    expect(new FanotifyJournal(path).takeOver()).toMatchObject(found);
    expect(before.area(0).every((byte) => byte === 0)).toBe(true);
  });

  test("holds no more of a thread than it is told to, and more when those are answered", () => {
    const journal = new FanotifyJournal(path, 3);
    const slots = [300, 301, 302].map((fd) => journal.hold(0, { ...read, fd }));
    expect(journal.hold(0, { ...read, fd: 303 })).toBeUndefined();
    journal.release(slots[1]!);
    expect(journal.hold(0, { ...read, fd: 303 })).toBe(slots[1]);
    expect(journal.takeOver()).toHaveLength(3);
  });

  test("knows an event once that was on its way to a slot", () => {
    const journal = new FanotifyJournal(path);
    journal.area(0).set(fanotifyEvent({ fd: 300, offsetBytes: 2 ** 36, lengthBytes: 4096 }));
    journal.hold(0, read);
    expect(journal.takeOver()).toMatchObject([read]);
  });

  test("holds thousands of reads of a thread, and then no more until one is released", () => {
    const journal = new FanotifyJournal(path);
    let slot: number | undefined;
    let count = 0;
    for (let next = journal.hold(0, read); next !== undefined; next = journal.hold(0, read)) {
      slot = next;
      count += 1;
    }
    expect(count).toBe(4096);
    journal.release(slot!);
    expect(journal.hold(0, read)).toBe(slot);
    expect(journal.hold(0, read)).toBeUndefined();
    expect(journal.hold(1, read)).toBeDefined();
  });

  test("is emptied for a new group", () => {
    const journal = new FanotifyJournal(path);
    journal.hold(2, read);
    journal.area(1).set(fanotifyEvent({ fd: 9 }));
    journal.clear();
    expect(new FanotifyJournal(path).takeOver()).toEqual([]);
  });

  test.each([
    ["of another boot", (bytes: Buffer) => bytes.fill("x", 16, 20)],
    ["of another version", (bytes: Buffer) => bytes.fill(9, 8, 9)],
    ["of something else", (bytes: Buffer) => bytes.fill(0, 0, 4)],
  ])("begins anew where it finds one %s, in the same file", (_, damage) => {
    new FanotifyJournal(path).hold(0, read);
    const bytes = readFileSync(path);
    damage(bytes);
    writeFileSync(path, bytes);
    const { ino } = statSync(path);
    const journal = new FanotifyJournal(path);
    expect(journal.isContinued).toBe(false);
    expect(journal.takeOver()).toEqual([]);
    expect(statSync(path).ino).toBe(ino);
  });

  test("begins anew where the file is cut off", () => {
    new FanotifyJournal(path).hold(0, read);
    truncateSync(path, 5000);
    expect(new FanotifyJournal(path).takeOver()).toEqual([]);
  });
});

describe("heldEventsMax()", () => {
  test("leaves half of the descriptors to others", () => {
    const limits = "Limit   Soft Limit  Hard Limit  Units\nMax open files   4096   20000   files\n";
    expect(heldEventsMax(limits)).toBe(2048);
    expect(heldEventsMax(limits.replace("4096", "unlimited"))).toBe(Infinity);
    expect(heldEventsMax()).toBeGreaterThan(0);
  });
});
