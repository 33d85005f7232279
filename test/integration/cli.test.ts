/** The commands and the admin API of the compiled binary, on a root with known content. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { linkSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../../scripts/lib/process.ts";
import { binaryFile } from "../../scripts/lib/project.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { TestDaemon } from "../support/daemon.ts";
import { randomBytes } from "../support/random.ts";
import { rejection } from "../support/rejection.ts";
import { SnapshotsClient } from "../support/snapshots-client.ts";

const chunkBytes = 65_536;
const shared = randomBytes("shared", chunkBytes + 1_000);

function sha256(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}

let folder: ScratchFolder;
let daemon: TestDaemon;

beforeAll(async () => {
  folder = scratchFolder("cli");
  daemon = await TestDaemon.start(join(folder.path, "d"), { chunkSizeBytes: chunkBytes });
  using client = new SnapshotsClient(daemon.socket);
  const [first] = await client.prepare("key-1", "");
  const upper = first?.source ?? "";
  mkdirSync(join(upper, "folder"));
  writeFileSync(join(upper, "folder", "large"), shared);
  linkSync(join(upper, "folder", "large"), join(upper, "link"));
  writeFileSync(join(upper, "small"), "small");
  await client.commit("first", "key-1");
  const [second] = await client.prepare("key-2", "");
  writeFileSync(join(second?.source ?? "", "copy"), shared);
  await client.commit("second", "key-2");
});

afterAll(async () => {
  await daemon.stop();
  folder[Symbol.dispose]();
});

describe("dedup-snapshotter files", () => {
  test("shows what each file of a layer consists of, and how often that is used", async () => {
    const chunks = [shared.subarray(0, chunkBytes), shared.subarray(chunkBytes)];
    const [head, tail] = chunks.map((chunk) => `sha256:${sha256(chunk)} uses=2 none`);
    expect(await daemon.cli("files", "first")).toBe(
      [
        `/folder/large ${shared.length}`,
        `  0 ${chunkBytes} ${head}`,
        `  ${chunkBytes} 1000 ${tail}`,
        `/link ${shared.length} (hard link to /folder/large)`,
        "/small 5",
        "  0 5 inline",
        "",
      ].join("\n"),
    );
  });

  test("shows one file, of a layer given by its number", async () => {
    const [title] = (await daemon.cli("files", "2", "/copy")).split("\n");
    expect(title).toBe(`/copy ${shared.length}`);
  });

  test("names a layer or file that is not there, and says what to do", async () => {
    const noLayer = String(await rejection(daemon.cli("files", "third")));
    expect(noLayer).toContain('error: No converted layer "third"');
    expect(noLayer).toContain("remedy:");
    const noFile = String(await rejection(daemon.cli("files", "first", "missing")));
    expect(noFile).toContain('Layer 1 has no regular file "/missing"');
  });
});

describe("dedup-snapshotter chunks", () => {
  test("lists all chunks with their uses and places", async () => {
    const lines = (await daemon.cli("chunks")).trimEnd().split("\n");
    expect(lines).toEqual([
      `sha256:${sha256(shared.subarray(0, chunkBytes))} size=${chunkBytes} uses=2 ` +
        `pack=1 offset=0 encoding=none stored=${chunkBytes}`,
      `sha256:${sha256(shared.subarray(chunkBytes))} size=1000 uses=2 ` +
        `pack=1 offset=${chunkBytes} encoding=none stored=4096`,
    ]);
  });

  test("tells which files use a chunk", async () => {
    const hash = sha256(shared.subarray(0, chunkBytes));
    const lines = (await daemon.cli("chunks", hash.slice(0, 10))).trimEnd().split("\n");
    expect(lines.slice(1)).toEqual([
      "  layer=1 offset=0 /folder/large",
      "  layer=2 offset=0 /copy",
    ]);
  });

  test("refuses what is no start of a hash", async () => {
    expect(String(await rejection(daemon.cli("chunks", "xyz")))).toContain("no start of a SHA-256");
  });
});

describe("dedup-snapshotter stats", () => {
  test("shows the figures of the daemon", async () => {
    const stats = await daemon.stats();
    expect(stats.chunks).toEqual({ unique: 2, references: 4 });
    expect(stats.logical_bytes).toBe(2 * shared.length + "small".length);
    expect(stats.layers).toMatchObject({ converted: 2, plain: 0 });
    expect(stats.conversions).toMatchObject({ done: 2, failed: 0, running: 0 });
    const text = await daemon.cli("stats");
    expect(text).toContain("2 unique, 4 references");
    expect(JSON.parse(await daemon.cli("stats", "--json"))).toMatchObject({ chunks: stats.chunks });
  });
});

describe("GET", () => {
  test("an unknown path is answered with 404 and JSON", async () => {
    const address = readFileSync(join(daemon.root, "api.address"), "utf8").trim();
    const response = await fetch(`http://${address}/nothing`);
    expect(response.status).toBe(404);
    const answer = { error: "No such path: /nothing", code: "not_found" };
    expect(await response.json()).toEqual(answer);
  });
});

describe("dedup-snapshotter config", () => {
  test("prints the configuration in effect", async () => {
    const config = JSON.parse(await daemon.cli("config")) as unknown;
    expect(config).toMatchObject({ root: daemon.root, chunk_size: chunkBytes });
  });

  test("refuses an unknown key by name", async () => {
    const path = join(folder.path, "bad.json");
    writeFileSync(path, JSON.stringify({ chunksize: 1 }));
    const command = runCommand([binaryFile, "config"], { env: { CONFIG: path } });
    expect(String(await rejection(command))).toContain(`Unknown key "chunksize" in "${path}"`);
  });
});

describe("the binary", () => {
  test("reads no bunfig.toml and no .env of the folder it is started in", async () => {
    const place = join(folder.path, "place");
    mkdirSync(place);
    writeFileSync(join(place, "bunfig.toml"), 'preload = ["./preload.ts"]\n');
    writeFileSync(join(place, "preload.ts"), 'console.log("preloaded");\n');
    writeFileSync(join(place, ".env"), "ROOT=/from-env-file\n");
    const output = await runCommand([binaryFile, "config"], { cwd: place });
    expect(output).not.toContain("preloaded");
    expect(output).not.toContain("/from-env-file");
  });
});
