import { describe, expect, test } from "bun:test";
import { eventAt, forgetEvent, nextEventPosition, noteInode } from "../../../ffi/fanotify.ts";
import { fanotifyEvent } from "../../support/ondemand/fanotify-event.ts";

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

describe("eventAt()", () => {
  test("decodes events one after the other", () => {
    const ranged = { fd: 12, pid: 34, offsetBytes: 2 ** 40, lengthBytes: 131_072 };
    const events = Buffer.concat([fanotifyEvent(ranged), fanotifyEvent({ fd: 13 })]);
    const view = viewOf(events);
    const unnoted = { inode: undefined };
    expect(eventAt(view, 0)).toEqual({ ...ranged, ...unnoted, position: 0 });
    const next = nextEventPosition(view, 0);
    expect(next).toBe(48);
    const whole = { offsetBytes: 0, lengthBytes: Infinity };
    expect(eventAt(view, next)).toEqual({ fd: 13, pid: 1, ...unnoted, ...whole, position: 48 });
    expect(eventAt(view, nextEventPosition(view, next))).toBeUndefined();
  });

  test("ends at zeros", () => {
    expect(eventAt(viewOf(Buffer.alloc(96)), 0)).toBeUndefined();
  });

  test("shows what was forgotten by a descriptor that is none", () => {
    const view = viewOf(fanotifyEvent({ fd: 12 }));
    forgetEvent(view, 0);
    expect(eventAt(view, 0)?.fd).toBe(-1);
  });

  test("shows the inode that was noted", () => {
    const view = viewOf(fanotifyEvent({ fd: 12, offsetBytes: 5, lengthBytes: 6 }));
    for (const inode of [1, 0x0010_0000, 2 ** 52]) {
      noteInode(view, 0, inode);
      expect(eventAt(view, 0)).toMatchObject({ fd: 12, inode, offsetBytes: 5, lengthBytes: 6 });
    }
  });

  test("refuses another version of the structure", () => {
    const bytes = fanotifyEvent({ fd: 12 });
    bytes.writeUInt8(4, 4);
    expect(() => eventAt(viewOf(bytes), 0)).toThrow("version 4");
  });

  test("looks for the range behind other pieces of information", () => {
    const plain = fanotifyEvent({ fd: 12 });
    const other = Buffer.from([5, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    const range = fanotifyEvent({ fd: 12, offsetBytes: 5, lengthBytes: 6 }).subarray(24);
    const bytes = Buffer.concat([plain, other, range]);
    bytes.writeUInt32LE(bytes.length, 0);
    expect(eventAt(viewOf(bytes), 0)).toMatchObject({ offsetBytes: 5, lengthBytes: 6 });
  });
});
