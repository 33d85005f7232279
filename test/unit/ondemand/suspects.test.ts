import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { type ScratchFolder, scratchFolder } from "../../../scripts/lib/temp.ts";
import { createLogger } from "../../../src/log.ts";
import {
  type RecordedSuspect,
  SuspectRecord,
} from "../../../src/ondemand/fanotify/suspect-record.ts";
import { Suspects } from "../../../src/ondemand/fanotify/suspects.ts";
import { exposedMarkerPath, packPath, storePaths } from "../../../src/store/paths.ts";

const packId = 512;
const log = createLogger("silent");
const here = { pid: 1, command: "here", cgroup: "", namespace: readlinkSync("/proc/self/ns/mnt") };
/** No namespace has this number. */
const gone = { pid: 2, command: "gone", cgroup: "", namespace: "mnt:[1]" };

let root: ScratchFolder;
let record: SuspectRecord;

beforeEach(() => {
  root = scratchFolder("suspects");
  const paths = storePaths(root.path);
  mkdirSync(paths.packs);
  writeFileSync(packPath(paths, packId), "");
  writeFileSync(exposedMarkerPath(paths, packId), "");
  record = new SuspectRecord(root.path, log);
});

afterEach(() => root[Symbol.dispose]());

function suspectsOf(...users: RecordedSuspect["users"]): Suspects {
  const suspects = new Suspects({ root: root.path, log, report: () => undefined });
  suspects.add([{ packId, mayBeCached: false, users }]);
  return suspects;
}

describe("Suspects", () => {
  test("are on record until all who may have read zeros have ended", () => {
    const suspects = suspectsOf(gone, here);
    suspects.check();
    const expected = { packId, mayBeCached: false, users: [gone, here] };
    expect(record.read()).toEqual([expected]);
    suspects.close();
    const others = suspectsOf(gone);
    others.check();
    others.close();
    expect([...others.list(), ...record.read()]).toEqual([]);
  });

  test("are on record until they are withdrawn where no reader is known", () => {
    const suspects = suspectsOf();
    suspects.check();
    expect(record.read()).toHaveLength(1);
    suspects.remove(packId);
    suspects.close();
    expect(record.read()).toEqual([]);
  });

  test("are not what got the number of a pack that was deleted", () => {
    suspectsOf().close();
    rmSync(exposedMarkerPath(storePaths(root.path), packId));
    expect(record.read()).toEqual([]);
  });
});
