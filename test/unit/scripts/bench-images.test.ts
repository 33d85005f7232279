import { describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import {
  applicationTree,
  modelWeights,
  nodeModules,
  programText,
} from "../../../scripts/bench/images/generated.ts";
import { makeLayout, readImages, writeImages } from "../../../scripts/bench/images/layout.ts";
import { packEntries, packUpper } from "../../../scripts/bench/images/pack.ts";
import { imageSets, layerRecipes } from "../../../scripts/bench/images/recipes.ts";
import { Slots } from "../../../scripts/bench/images/slots.ts";
import { runCommand } from "../../../scripts/lib/process.ts";
import { type ScratchFolder, scratchFolder } from "../../../scripts/lib/temp.ts";
import { file, type Layer } from "../../support/image/layer.ts";
import { chainId, makeImage, sha256 } from "../../support/image/oci.ts";

function contents(layer: Layer): Map<string, string> {
  return new Map(
    layer.map((entry) => [entry.path, entry.type === "file" ? sha256(entry.content) : "-"]),
  );
}

function pathsInOrder(layer: Layer): string[] {
  return layer.map(({ path }) => path);
}

describe("generated layers", () => {
  test("are the same in every run", () => {
    expect(contents(nodeModules("srv", 20))).toEqual(contents(nodeModules("srv", 20)));
    expect(programText("a", 5000)).toEqual(programText("a", 5000));
  });

  test("hold each folder before what is in it, once", () => {
    const paths = pathsInOrder(nodeModules("srv/app", 30));
    expect(new Set(paths).size).toBe(paths.length);
    for (const [index, path] of paths.entries()) {
      const parent = path.split("/").slice(0, -1).join("/");
      if (parent !== "") expect(paths.slice(0, index)).toContain(parent);
    }
  });

  test("change a few files in the second version of an application, and add some", () => {
    const [first, second] = [1, 2].map((version) =>
      contents(applicationTree("srv", 400, version as 1 | 2)),
    );
    const common = [...(first ?? [])].filter(([path]) => second?.has(path));
    const changed = common.filter(([path, digest]) => second?.get(path) !== digest);
    expect(common.length).toBe(first?.size ?? 0);
    expect(changed.length).toBeGreaterThan(4);
    expect(changed.length).toBeLessThan(30);
    expect(second?.size).toBe((first?.size ?? 0) + 8);
  });
});

test("the second weights differ in seven of 150 blocks", () => {
  const [first, second] = [1, 2].map((version) => modelWeights(version as 1 | 2).at(-1));
  if (first?.type !== "file" || second?.type !== "file") throw new Error("no file");
  const blockBytes = first.content.length / 150;
  const block = (content: Uint8Array, index: number) =>
    Buffer.from(content.buffer, content.byteOffset + index * blockBytes, blockBytes);
  const indexes = Array.from({ length: 150 }, (_, index) => index);
  const changed = indexes.filter(
    (index) => !block(first.content, index).equals(block(second.content, index)),
  );
  expect(changed.length).toBe(7);
});

describe("recipes", () => {
  test.each(Object.entries(imageSets))("of the %s set have all their layers", (_, images) => {
    const named = images.flatMap(({ layers }) => layers);
    expect(named.filter((name) => layerRecipes[name] === undefined)).toEqual([]);
  });

  test("stand on the layer below them in every image", () => {
    const images = Object.values(imageSets).flat();
    const wrong = images.flatMap(({ name, layers }) =>
      layers
        .filter((layer, index) => {
          const recipe = layerRecipes[layer];
          return recipe?.kind === "commands" && recipe.on !== layers[index - 1];
        })
        .map((layer) => `${name}: ${layer}`),
    );
    expect(wrong).toEqual([]);
  });
});

function makeFolders(scratch: ScratchFolder): { layout: string; upper: string } {
  const [layout, upper] = [join(scratch.path, "layout"), join(scratch.path, "upper")];
  mkdirSync(upper);
  makeLayout(layout);
  return { layout, upper };
}

describe("packUpper()", () => {
  test("says in the image's words what the overlay hides", async () => {
    using scratch = scratchFolder("pack");
    const { layout, upper } = makeFolders(scratch);
    mkdirSync(join(upper, "again"));
    writeFileSync(join(upper, "again/new"), "new\n");
    await runCommand(["mknod", join(upper, "gone"), "c", "0", "0"]);
    await runCommand(["mknod", join(upper, "null"), "c", "1", "3"]);
    const opaque = "import os,sys; os.setxattr(sys.argv[1], 'trusted.overlay.opaque', b'y')";
    await runCommand(["python3", "-c", opaque, join(upper, "again")]);
    const blob = await packUpper(layout, upper, join(scratch.path, "x"));
    const tar = gunzipSync(await blob.read());
    expect(blob.diffId).toBe(sha256(tar));
    const names = await runCommand(["tar", "--list"], { stdin: tar });
    expect(names.trimEnd().split("\n")).toEqual([
      "./",
      "./again/",
      "./again/new",
      "./null",
      "again/.wh..wh..opq",
      ".wh.gone",
    ]);
  });
});

describe("readImages()", () => {
  test("gives back what was written", async () => {
    using scratch = scratchFolder("layout");
    const { layout } = makeFolders(scratch);
    const layer = await packEntries(layout, [file("a", "content of a")], "fast");
    const image = makeImage("a:1", [layer]);
    writeImages(layout, [image]);
    const [read, ...others] = readImages(layout);
    if (read === undefined) throw new Error("no image");
    expect(others).toEqual([]);
    expect([read.name, chainId(read)]).toEqual(["a:1", chainId(image)]);
    expect(sha256(read.manifest)).toBe(sha256(image.manifest));
    expect(sha256((await read.layers[0]?.read()) ?? new Uint8Array())).toBe(layer.digest);
  });

  test("fails where a blob is missing", async () => {
    using scratch = scratchFolder("layout");
    const { layout } = makeFolders(scratch);
    writeImages(layout, [makeImage("a:1", [])]);
    rmSync(join(layout, "blobs"), { recursive: true });
    expect(() => readImages(layout)).toThrow("ENOENT");
  });
});

describe("Slots", () => {
  test("run so many tasks at a time", async () => {
    const slots = new Slots(2);
    let [running, most] = [0, 0];
    const task = () =>
      slots.run(async () => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running--;
      });
    await Promise.all([task(), task(), task(), task(), task()]);
    expect(most).toBe(2);
  });

  test("give up what waits when a task fails", async () => {
    const slots = new Slots(1);
    let ran = false;
    const failed = slots.run(() => Promise.reject(new Error("no package")));
    const waiting = slots.run(() => Promise.resolve((ran = true)));
    const outcomes = await Promise.allSettled([failed, waiting]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(ran).toBe(false);
  });
});
