import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type ScratchFolder, scratchFolder } from "../../../../scripts/lib/temp.ts";
import { traceBytesMax } from "../../../../src/ondemand/trace/format.ts";
import { traceFileName, TraceStore } from "../../../../src/ondemand/trace/store.ts";
import { RecordingLog } from "../../snapshot/fakes.ts";
import { traceOf } from "../../../support/ondemand/traces.ts";

const hostile = [
  "..",
  "../../etc/passwd",
  "/etc/passwd",
  "a\0b",
  "a/../b",
  ".",
  "",
  "\ud800",
  "x".repeat(5000),
  "/".repeat(300),
  "%2e%2e%2f",
];

describe("traceFileName()", () => {
  test.each(hostile)("names a file of the folder for %p", (image) => {
    const name = traceFileName(image);
    expect(basename(name)).toBe(name);
    expect(name).toEndWith(".trace");
    expect(name.length).toBeLessThanOrEqual(255);
    expect(name).not.toContain("\0");
  });

  test("is readable, and another one for each image", () => {
    const images = ["docker.io/library/debian:12", ...hostile, `${"x".repeat(5000)}y`];
    expect(traceFileName(images[0]!)).toBe("docker.io%2Flibrary%2Fdebian%3A12.trace");
    expect(new Set(images.map(traceFileName)).size).toBe(images.length);
  });
});

describe("TraceStore", () => {
  let scratch: ScratchFolder;
  let folder: string;
  let log: RecordingLog;
  let store: TraceStore;

  beforeEach(() => {
    scratch = scratchFolder("unit");
    folder = join(scratch.path, "traces");
    log = new RecordingLog();
    store = new TraceStore(folder, log);
  });

  afterEach(() => scratch[Symbol.dispose]());

  test("gives back what was written, and nothing for what was not", () => {
    expect(store.read("app:1")).toEqual([]);
    expect(store.names()).toEqual([]);
    store.write("app:1", traceOf("ab"));
    store.write("app:1", traceOf("cde"));
    expect(store.read("app:1")).toEqual(traceOf("cde"));
    expect(store.names()).toEqual([traceFileName("app:1")]);
    expect(readdirSync(folder)).toEqual([traceFileName("app:1")]);
  });

  test.each(hostile)("writes nothing outside for %p", (image) => {
    store.write(image, traceOf("a"));
    expect(readdirSync(scratch.path)).toEqual(["traces"]);
    expect(store.read(image)).toEqual(traceOf("a"));
  });

  test("takes what is damaged, too large or no file for nothing", () => {
    mkdirSync(folder);
    const path = (image: string) => join(folder, traceFileName(image));
    writeFileSync(path("text"), "hello\n");
    writeFileSync(path("large"), "");
    truncateSync(path("large"), traceBytesMax + 1);
    mkdirSync(path("folder"));
    symlinkSync("/dev/zero", path("device"));
    for (const image of ["text", "large", "folder", "device"]) {
      expect([image, store.read(image)]).toEqual([image, []]);
    }
    expect(log.lines).toHaveLength(4);
  });
});
