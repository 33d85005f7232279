import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ScratchFolder, scratchFolder } from "../../../scripts/lib/temp.ts";
import { createLogger } from "../../../src/log.ts";
import { chooseBackend } from "../../../src/ondemand/backends.ts";
import { PackStore } from "../../../src/ondemand/pack-store.ts";
import { exposedMarkerPath, packPath, storePaths } from "../../../src/store/paths.ts";
import { makeLazyPack, writeLazyPack } from "../../support/ondemand/lazy-pack.ts";

let root: ScratchFolder;
let store: PackStore;

beforeEach(() => {
  root = scratchFolder("packs");
  mkdirSync(join(root.path, "packs"));
  store = new PackStore(storePaths(root.path).packs);
  for (const packId of [512, 513]) {
    writeLazyPack(root.path, packId, makeLazyPack({ sizes: [5000] }));
  }
});

afterEach(() => root[Symbol.dispose]());

describe("PackStore.backendInUse()", () => {
  test("is none where nothing was exposed, or everything was fetched first", () => {
    expect(store.backendInUse()).toBeUndefined();
    store.mark(512, "eager");
    expect(store.backendInUse()).toBeUndefined();
  });

  test("is FUSE as long as a pack was exposed through it in this boot", () => {
    store.mark(512, "fuse");
    expect(store.backendInUse()).toBe("fuse");
    const paths = storePaths(root.path);
    writeFileSync(exposedMarkerPath(paths, 512), "another-boot fuse\n");
    expect(store.backendInUse()).toBeUndefined();
  });

  test("is fanotify while somebody has a pack open that has holes", () => {
    store.mark(512, "fuse");
    store.mark(513, "fanotify");
    expect(store.backendInUse()).toBe("fuse");
    const mounted = openSync(packPath(storePaths(root.path), 513), "r");
    expect(store.backendInUse()).toBe("fanotify");
    closeSync(mounted);
    const pack = store.open(513);
    pack.markPresent(0);
    expect(store.backendInUse()).toBe("fuse");
  });
});

describe("PackStore.unmark()", () => {
  test("takes away what came to lie beside a pack that was deleted, the marker last", () => {
    const { packs } = storePaths(root.path);
    store.mark(512, "fuse");
    store.unmark(512);
    expect(readdirSync(packs)).toContain("512.pieces");
    rmSync(packPath({ packs }, 512));
    store.mark(512, "fuse");
    for (const suffix of ["have", "synced", "synced.new"]) {
      writeFileSync(join(packs, `512.${suffix}`), "");
    }
    store.unmark(512);
    expect(readdirSync(packs).filter((name) => name.startsWith("512."))).toEqual([]);
  });
});

describe("chooseBackend() where layers may be mounted", () => {
  test("goes on with what they are mounted through, and says so", async () => {
    const options = {
      root: root.path,
      inUse: "eager" as const,
      demand: () => Promise.resolve(),
      keeper: undefined,
      log: createLogger("silent"),
      threads: 1,
      reportSuspect: () => undefined,
      onCrash: () => undefined,
    };
    const { backend, reasons } = await chooseBackend("auto", options);
    expect(backend.name).toBe("eager");
    expect(reasons).toEqual(["eager goes on: layers may be mounted through it"]);
    expect((await chooseBackend("eager", options)).reasons).toEqual([]);
  });
});
