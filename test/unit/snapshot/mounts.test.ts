import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Labels, SnapshotKind } from "../../../src/snapshot/contract.ts";
import { SnapshotDirectories } from "../../../src/snapshot/directories.ts";
import { imagesOf, mountsFor } from "../../../src/snapshot/mounts.ts";
import type { ChainLink } from "../../../src/snapshot/rows.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { FakeTrees, noLabels } from "./fakes.ts";

const image = (id: number, layerId: number): ChainLink => ({
  id,
  layer: { kind: "image", layerId },
});
const plain = (id: number): ChainLink => ({ id, layer: { kind: "plain", reason: "" } });

function mountsOf(
  kind: SnapshotKind,
  chain: ChainLink[],
  parameters: Record<string, string> = {},
  labels: Labels = noLabels,
) {
  using scratch = scratchFolder("unit");
  const overlayParameters = join(scratch.path, "parameters");
  mkdirSync(overlayParameters);
  for (const [name, value] of Object.entries(parameters)) {
    writeFileSync(join(overlayParameters, name), `${value}\n`);
  }
  const directories = new SnapshotDirectories(scratch.path, new FakeTrees());
  const mounts = { directory: (layerId: number) => `/m/${layerId}` };
  const places = { directories, mounts, overlayParameters };
  const found = mountsFor(places, { id: 9, kind, parent: "", labels }, chain);
  return JSON.parse(JSON.stringify(found).replaceAll(directories.path, "/s"));
}

const overlay = (...options: string[]) => [{ type: "overlay", source: "overlay", options }];
const bind = (source: string, mode: string) => [{ type: "bind", source, options: [mode, "rbind"] }];
const own = ["workdir=/s/9/work", "upperdir=/s/9/fs"];

describe("mountsFor()", () => {
  test("binds the own directory where there is no parent", () => {
    expect(mountsOf("active", [])).toEqual(bind("/s/9/fs", "rw"));
    expect(mountsOf("view", [])).toEqual(bind("/s/9/fs", "ro"));
  });

  test("lays a snapshot that will lie on another over an empty directory until then", () => {
    const labels = new Map([["containerd.io/snapshot/parent-chain-id", "sha256:ab"]]);
    const below = overlay(...own, "lowerdir=/s/9/below");
    expect(mountsOf("active", [], {}, labels)).toEqual(below);
    expect(mountsOf("view", [], {}, labels)).toEqual(bind("/s/9/fs", "ro"));
    const applied = overlay(...own, "lowerdir=/m/5");
    expect(mountsOf("active", [image(9, 5)], {}, labels)).toEqual(applied);
  });

  test("binds the parent for a view of one layer", () => {
    expect(mountsOf("view", [image(1, 5)])).toEqual(bind("/m/5", "ro"));
    expect(mountsOf("view", [plain(1)])).toEqual(bind("/s/1/fs", "ro"));
  });

  test("stacks layers with the nearest first, images and directories alike", () => {
    const chain = [image(3, 7), plain(2), image(1, 5)];
    expect(mountsOf("active", chain)).toEqual(overlay(...own, "lowerdir=/m/7:/s/2/fs:/m/5"));
    expect(mountsOf("view", chain)).toEqual(overlay("lowerdir=/m/7:/s/2/fs:/m/5"));
  });

  test("turns off the index where the kernel knows it, and metacopy where it is on", () => {
    const chain = [image(1, 5)];
    const rest = [...own, "lowerdir=/m/5"];
    expect(mountsOf("active", chain, { index: "N", metacopy: "N" })).toEqual(
      overlay("index=off", ...rest),
    );
    expect(mountsOf("active", chain, { index: "N", metacopy: "Y" })).toEqual(
      overlay("index=off", "metacopy=off", ...rest),
    );
  });

  // overlayfs answers ELOOP for a lower directory that it has already.
  test("names an image that occurs twice once, where it is nearest", () => {
    const chain = [image(4, 5), image(3, 6), image(2, 5), image(1, 7)];
    expect(imagesOf(chain)).toEqual([5, 6, 7]);
    expect(mountsOf("active", chain)).toEqual(overlay(...own, "lowerdir=/m/5:/m/6:/m/7"));
  });

  // A view of one lower directory alone is EINVAL.
  test("fills up a view that has one image twice with its own empty directory", () => {
    const chain = [image(2, 5), image(1, 5)];
    expect(mountsOf("view", chain)).toEqual(overlay("lowerdir=/m/5:/s/9/fs"));
  });
});

describe("SnapshotDirectories", () => {
  test.each([",", ":", "\\"])("refuses a root with %j, a separator of mount options", (mark) => {
    using scratch = scratchFolder("unit");
    const root = join(scratch.path, `a${mark}b`);
    expect(() => new SnapshotDirectories(root, new FakeTrees())).toThrow("overlayfs");
  });
});
