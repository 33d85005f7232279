/** `dedup-snapshotter convert` of the compiled binary, from and to a real registry. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensurePackages } from "../../scripts/lib/apt.ts";
import { runCommand, tryCommand } from "../../scripts/lib/process.ts";
import { binaryFile } from "../../scripts/lib/project.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { MiB } from "../../src/util/bytes.ts";
import { file, type Layer } from "../support/image/layer.ts";
import { layoutIndex, layoutManifest } from "../support/image/layout.ts";
import { makeImage, packLayer } from "../support/image/oci.ts";
import { randomBytes } from "../support/random.ts";
import { Registry } from "../support/registry.ts";

const layers: Layer[] = [
  [file("big", randomBytes("convert", 9 * MiB)), file("small", "small\n")],
  [file("other", "other\n".repeat(10_000))],
];
const image = makeImage("source:1", layers.map(packLayer));

let scratch: ScratchFolder;
let registry: Registry;

beforeAll(async () => {
  await ensurePackages(["docker-registry"]);
  scratch = scratchFolder("convert");
  registry = await Registry.start(join(scratch.path, "r"));
  await registry.push(image);
});

afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  scratch[Symbol.dispose]();
});

function convert(...args: readonly string[]) {
  const env = { TMPDIR: scratch.path };
  return runCommand([binaryFile, "convert", ...args], { env });
}

/** What stays in the folder of temporary files, which should be nothing. */
function leftovers(): string[] {
  return readdirSync(scratch.path).filter((name) => name.startsWith("dedup-convert"));
}

describe("dedup-snapshotter convert", () => {
  test.each(["estargz", "zstd-chunked"])("%s: registry, layout and back", async (format) => {
    const [layout, again] = [join(scratch.path, format), join(scratch.path, `${format}-again`)];
    const source = registry.reference(image);
    const lazy = `${registry.address}/${format}:1`;
    await convert(source, `oci:${layout}:x`, "--format", format);
    const pushed = await convert(source, lazy, "--format", format);
    const pulled = await convert(lazy, `oci:${again}`, "--format", format);
    const digest = layoutIndex(layout).manifests[0]?.digest ?? "";
    expect(pushed).toBe(`${digest} ${lazy}\n`);
    expect(pulled).toBe(`${digest} oci:${again}\n`);
    expect(layoutManifest(again).layers).toHaveLength(layers.length);
    expect(leftovers()).toEqual([]);
  });

  test("tells, without a terminal, a line for each layer, and what is not there", async () => {
    const list = join(scratch.path, "list");
    writeFileSync(list, "/other\n/nowhere\n");
    const args = [
      registry.reference(image),
      `oci:${join(scratch.path, "p")}`,
      "--prioritize",
      list,
    ];
    const result = await tryCommand([binaryFile, "convert", ...args]);
    const lines = result.stderr.trimEnd().split("\n");
    expect(
      lines
        .slice(0, -1)
        .map((line) => line.slice(0, 13))
        .sort(),
    ).toEqual(["[1/2] sha256:", "[2/2] sha256:"]);
    expect(lines.at(-1)).toBe('warning: no layer has the prioritized file "/nowhere"');
  });

  test.each([
    ["an unknown format", ["a", "b", "--format", "zip"], "is no format of lazy images"],
    ["an unknown platform", ["a", "b", "--platform", "linux"], "is no platform"],
    ["no such layout", ["/nowhere", "b"], "no OCI layout"],
    ["no such list", ["a", "b", "--prioritize", "/nowhere"], "Cannot read the list"],
  ])("refuses %s", async (_, args, message) => {
    const result = await tryCommand([binaryFile, "convert", ...args]);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain(message);
    expect(leftovers()).toEqual([]);
  });

  test("refuses what the registry does not have", async () => {
    const args = [`${registry.address}/none:1`, `oci:${join(scratch.path, "none")}`];
    const result = await tryCommand([binaryFile, "convert", ...args]);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain("none");
  });
});
