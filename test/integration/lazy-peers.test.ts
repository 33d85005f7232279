/**
 * Lazy layers of others are read by us, and ours by them: Debian's skopeo, and the reference
 * library of eStargz.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensurePackages } from "../../scripts/lib/apt.ts";
import { runCommand } from "../../scripts/lib/process.ts";
import { binaryFile } from "../../scripts/lib/project.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { annotation } from "../../src/lazy/annotations.ts";
import { MiB } from "../../src/util/bytes.ts";
import { sha256Digest } from "../../src/util/digest.ts";
import { buildGoProgram } from "../support/go-program.ts";
import { hardCaseLayers } from "../support/image/hard-cases.ts";
import { directory, file } from "../support/image/layer.ts";
import { blobPath, layoutManifest, readBlob, writeLayout } from "../support/image/layout.ts";
import { makeImage, packLayer } from "../support/image/oci.ts";
import { writeTar } from "../support/image/tar.ts";
import { type EntryFacts, factsOfLazy, factsOfTar } from "../support/lazy/entry-facts.ts";
import { readLazy } from "../support/lazy/lazy-blob.ts";
import { addEager, addLazy, fillPack } from "../support/lazy/lazy-store.ts";
import { randomBytes } from "../support/random.ts";
import { TestStore } from "../support/store.ts";
import { readTree } from "../support/tree.ts";

/** Without what no table of contents can say. */
const layers = hardCaseLayers().map((layer) =>
  layer.filter(({ path }) => !path.includes("latin1-\xe9")),
);

let scratch: ScratchFolder;
let source: string;

beforeAll(async () => {
  await ensurePackages(["skopeo"]);
  scratch = scratchFolder("peers");
  source = join(scratch.path, "source");
  await writeLayout(source, makeImage("hard:1", layers.map(packLayer)));
});

afterAll(() => scratch[Symbol.dispose]());

function skopeoCopy(...args: readonly string[]): Promise<string> {
  return runCommand(["skopeo", "copy", "--insecure-policy", ...args]);
}

/** Go 1.19 takes an empty PAX record for none. */
function withoutEmptyXattrs(facts: EntryFacts): EntryFacts {
  const xattrs = facts.entry.xattrs.filter(({ value }) => value.length > 0);
  return { ...facts, entry: { ...facts.entry, xattrs } };
}

describe("skopeo", () => {
  test("writes zstd:chunked that says what the tars say", async () => {
    const out = join(scratch.path, "theirs");
    await skopeoCopy("--dest-compress-format", "zstd:chunked", `oci:${source}`, `oci:${out}`);
    const manifest = layoutManifest(out);
    expect(manifest.layers).toHaveLength(layers.length);
    for (const [index, { digest, annotations = {} }] of manifest.layers.entries()) {
      const blob = readBlob(out, digest);
      const { entries } = await readLazy(blob, annotations);
      const expected = await factsOfTar(writeTar(layers[index] ?? []));
      expect(factsOfLazy(blob, entries)).toEqual(expected.map(withoutEmptyXattrs));
    }
  });

  test("writes zstd:chunked that is mounted before it is there", async () => {
    // Cut where a rolling checksum tells; and what is known already, as files of their own.
    const known = file("known", randomBytes("known", 300_000));
    const large = [file("large", randomBytes("large", 3_000_000)), known, directory("folder")];
    const [from, out] = [join(scratch.path, "large"), join(scratch.path, "large-theirs")];
    await writeLayout(from, makeImage("large:1", [packLayer(large)]));
    await skopeoCopy("--dest-compress-format", "zstd:chunked", `oci:${from}`, `oci:${out}`);
    const { digest, annotations = {} } = layoutManifest(out).layers[0]!;
    const bytes = readBlob(out, digest);
    const { entries } = await readLazy(bytes, annotations);
    expect(entries[0]?.chunks.length).toBeGreaterThan(5);
    using store = new TestStore(4 * MiB);
    await addEager(store, writeTar([known]));
    const blob = { bytes, digest, sizeBytes: bytes.length, annotations };
    const { layerId, packId, missingBytes } = await addLazy(store, blob);
    expect(missingBytes).toBe(3_000_000);
    fillPack(store, packId ?? 0, blob);
    const eager = await addEager(store, writeTar(large));
    const expected = readTree(store.mount(eager.layerId));
    expect(readTree(store.mount(layerId))).toEqual(expected);
    const promoted = await store.promote(layerId, undefined);
    expect(promoted).toMatchObject({ layerId: eager.layerId, reused: true });
  });

  test.each(["estargz", "zstd-chunked"])(
    "unpacks %s to the tars of the diff IDs",
    async (format) => {
      const [lazy, plain] = [join(scratch.path, format), join(scratch.path, `${format}-plain`)];
      await runCommand([binaryFile, "convert", source, `oci:${lazy}:1`, "--format", format]);
      await skopeoCopy("--dest-decompress", `oci:${lazy}:1`, `dir:${plain}`);
      const config = readBlob(lazy, layoutManifest(lazy).config.digest).toString();
      const { rootfs } = JSON.parse(config) as { rootfs: { diff_ids: string[] } };
      const files = new Set(readdirSync(plain).map((name) => `sha256:${name}`));
      expect(rootfs.diff_ids.filter((diffId) => !files.has(diffId))).toEqual([]);
    },
  );
});

/** As that library writes them: without a name's last slash, and in whole seconds. */
function byName(facts: readonly EntryFacts[]) {
  const plain = facts.map(({ entry, content }) => {
    const name = entry.name.replace(/^\.?\/|\/$/g, "");
    return { entry: { ...entry, name, mtimeNanoseconds: 0 }, content };
  });
  return Map.groupBy(plain, ({ entry }) => entry.name);
}

describe("the reference library of eStargz", () => {
  let program: string;

  beforeAll(async () => {
    const peer = join(import.meta.dir, "..", "support", "lazy", "estargz-peer.go");
    program = await buildGoProgram(peer, "golang-github-containerd-stargz-snapshotter-dev");
  }, 300_000);

  async function built(name: string, tar: Buffer, first: readonly string[] = []) {
    const [from, to] = [join(scratch.path, `${name}.tar`), join(scratch.path, `${name}.esgz`)];
    writeFileSync(from, tar);
    const tocDigest = (await runCommand([program, "build", from, to, ...first])).trim();
    const bytes = readFileSync(to);
    const annotations = { [annotation.estargzTocDigest]: tocDigest };
    return { bytes, digest: sha256Digest(bytes), sizeBytes: bytes.length, annotations };
  }

  test("writes eStargz that says what the tars say", async () => {
    for (const [index, layer] of layers.entries()) {
      const tar = writeTar(layer);
      const { bytes, annotations } = await built(`hard-${index}`, tar);
      const { entries } = await readLazy(bytes, annotations);
      const expected = byName(await factsOfTar(tar));
      expect(byName(factsOfLazy(bytes, entries))).toEqual(expected);
    }
  });

  test("writes eStargz that is mounted before it is there", async () => {
    const whole = { mtimeNs: 1_577_934_245_000_000_000n };
    const known = file("known", randomBytes("known", 300_000), whole);
    const content = file("large", randomBytes("large", 9_000_000), whole);
    const large = [known, content, directory("folder", whole)];
    const blob = await built("large", writeTar(large), ["large"]);
    using store = new TestStore(4 * MiB);
    await addEager(store, writeTar([known]));
    const { layerId, packId, missingBytes } = await addLazy(store, blob);
    expect(missingBytes).toBe(9_000_000);
    fillPack(store, packId ?? 0, blob);
    const eager = await addEager(store, writeTar(large));
    expect(readTree(store.mount(layerId))).toEqual(readTree(store.mount(eager.layerId)));
  });

  test("verifies each chunk of what we write", async () => {
    const out = join(scratch.path, "verified");
    await runCommand([binaryFile, "convert", source, out]);
    for (const [index, { digest, annotations = {} }] of layoutManifest(out).layers.entries()) {
      const toc = annotations[annotation.estargzTocDigest] ?? "";
      const output = await runCommand([program, "verify", blobPath(out, digest), toc]);
      const found = new Map(output.split("\0").map((line) => [line.slice(65), line.slice(0, 64)]));
      for (const entry of layers[index] ?? []) {
        if (entry.type !== "file") continue;
        const path = Buffer.from(entry.path, "latin1").toString();
        expect(found.get(path)).toBe(sha256Digest(entry.content).slice("sha256:".length));
      }
    }
  });
});
