import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ScratchFolder, scratchFolder } from "../../../../scripts/lib/temp.ts";
import { FillablePack } from "../../../../src/ondemand/fillable-pack.ts";
import { tracePiecesMax } from "../../../../src/ondemand/trace/format.ts";
import { sessionMs, StartRecorder } from "../../../../src/ondemand/trace/recorder.ts";
import { TraceStore } from "../../../../src/ondemand/trace/store.ts";
import { toHex } from "../../../../src/util/bytes.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { makeLazyPack, writeLazyPack } from "../../../support/ondemand/lazy-pack.ts";
import { RecordingLog } from "../../snapshot/fakes.ts";

const image = "registry.test/app:1";

describe("StartRecorder", () => {
  let scratch: ScratchFolder;
  let clock: FakeClock;
  let log: RecordingLog;
  let store: TraceStore;
  let stored: string[];
  let recorder: StartRecorder;
  let packs: FillablePack[];

  beforeEach(() => {
    scratch = scratchFolder("unit");
    clock = new FakeClock();
    log = new RecordingLog();
    store = new TraceStore(join(scratch.path, "traces"), log);
    stored = [];
    packs = [];
    recorder = newRecorder();
  });

  afterEach(async () => {
    await Promise.all(packs.map((pack) => pack.close()));
    scratch[Symbol.dispose]();
  });

  function newRecorder(): StartRecorder {
    return new StartRecorder({ store, clock, log, onStored: (name) => void stored.push(name) });
  }

  function open(packId: number, count: number, name = image): FillablePack {
    const sizes = Array.from({ length: count }, () => 10);
    const fixture = makeLazyPack({ sizes, seed: `${packId}` });
    const pack = FillablePack.open(packId, writeLazyPack(scratch.path, packId, fixture, name));
    packs.push(pack);
    return pack;
  }

  /** Pack and piece of what the trace has, in its order. */
  function traced(name = image): (readonly [number, number] | undefined)[] {
    return recorder.traceOf(name).map(({ sha256 }) => {
      for (const { packId, pieces } of packs) {
        const piece = pieces.find(Buffer.from(sha256, "hex"));
        if (piece !== undefined) return [packId, piece];
      }
      return undefined;
    });
  }

  /** Another start, from the claim to the end; which starts have read what. */
  function start(...pieces: readonly (readonly [FillablePack, number])[]): string[] {
    recorder = newRecorder();
    for (const pack of packs) recorder.arm(pack);
    for (const [pack, piece] of pieces) recorder.note(pack, piece);
    recorder.close();
    return store.read(image).map(({ starts }) => starts);
  }

  test("begins with the first read and ends when its time is over", () => {
    const [one, two] = [open(512, 9), open(513, 9)];
    for (const pack of [one, two]) recorder.arm(pack);
    clock.advance(sessionMs * 10);
    expect(recorder.recording).toBe(0);
    recorder.note(two, 4);
    clock.advance(250);
    recorder.note(one, 7);
    expect(recorder.recording).toBe(1);
    expect(recorder.traceOf(image).map(({ atMs }) => atMs)).toEqual([0, 250]);
    clock.advance(sessionMs - 250);
    recorder.note(one, 1);
    expect(stored).toEqual([image]);
    expect(recorder.recording).toBe(0);
    expect(traced()).toEqual([
      [513, 4],
      [512, 7],
    ]);
    expect(store.read(image)).toEqual(recorder.traceOf(image));
  });

  test("says where a piece comes from", () => {
    const pack = open(512, 3);
    recorder.arm(pack);
    recorder.note(pack, 2);
    const [entry] = recorder.traceOf(image);
    expect(entry).toEqual({
      sha256: toHex(pack.pieces.sha256Of(2)),
      digest: pack.pieces.origin.digest,
      offsetBytes: 8192,
      sizeBytes: 10,
      atMs: 0,
      starts: "x",
    });
  });

  test("keeps images apart, and records nothing that was not armed", () => {
    const [one, other, unarmed] = [open(512, 3), open(513, 3, "b:1"), open(514, 3, "c:1")];
    recorder.arm(one);
    recorder.arm(other);
    for (const pack of [one, other, unarmed]) recorder.note(pack, 1);
    expect(traced()).toEqual([[512, 1]]);
    expect(traced("docker.io/library/b:1")).toEqual([[513, 1]]);
    expect(traced("docker.io/library/c:1")).toEqual([]);
  });

  test("ends when there is enough, and stores what it has when the process ends", () => {
    const large = open(512, tracePiecesMax + 5);
    recorder.arm(large);
    for (let piece = 0; piece < large.pieces.length; piece++) recorder.note(large, piece);
    expect(store.read(image)).toHaveLength(tracePiecesMax);
    const other = open(513, 3, "b:1");
    recorder.arm(other);
    recorder.note(other, 0);
    recorder.close();
    expect(stored).toEqual([image, "docker.io/library/b:1"]);
    expect(store.read("docker.io/library/b:1")).toHaveLength(1);
  });

  test("merges starts; what a complete pack may have given is not missed", () => {
    const [one, two] = [open(512, 2), open(513, 2)];
    expect(start([one, 0], [two, 0])).toEqual(["x", "x"]);
    expect(start([two, 0])).toEqual(["-x", "xx"]);
    for (const piece of [0, 1]) one.markPresent(piece);
    expect(start([two, 0])).toEqual(["-x", "xxx"]);
  });

  test("forgets an image that went before it was started, not a start", () => {
    const pack = open(512, 2);
    recorder.arm(pack);
    recorder.forget(pack);
    recorder.note(pack, 0);
    expect(recorder.traceOf(image)).toEqual([]);
    recorder.arm(pack);
    recorder.note(pack, 0);
    recorder.forget(pack);
    clock.advance(sessionMs);
    expect(store.read(image)).toHaveLength(1);
  });

  test("goes on where a trace cannot be stored", () => {
    writeFileSync(join(scratch.path, "traces"), "no folder");
    const pack = open(512, 2);
    recorder.arm(pack);
    recorder.note(pack, 0);
    recorder.close();
    expect(stored).toEqual([]);
    expect(log.lines.length).toBeGreaterThan(0);
  });
});
