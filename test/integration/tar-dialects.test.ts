/**
 * Archives of the common programs, in each of their formats: the tree made from one has to be what
 * GNU tar unpacks from it, and what containerd does.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { openFlag } from "../../ffi/constants.ts";
import { close, open } from "../../ffi/file.ts";
import { setXattr } from "../../ffi/xattr.ts";
import { runCommand, tryCommand } from "../../scripts/lib/process.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { buildTarTree } from "../../src/layer/tar-tree.ts";
import { byteStringOfText } from "../../src/util/byte-string.ts";
import { MiB } from "../../src/util/bytes.ts";
import { treeDifferences } from "../support/image/model.ts";
import { randomBytes } from "../support/random.ts";
import { type Archiver, archivers, prepareArchivers } from "../support/tar/archivers.ts";
import { compareChains } from "../support/tar/containerd-apply.ts";
import { MemorySink } from "../support/tar/memory-sink.ts";
import { pieces } from "../support/tar/raw-tar.ts";
import { factsOfTree } from "../support/tar/tar-facts.ts";
import { readTree } from "../support/tree.ts";

setDefaultTimeout(120_000);

const longName = "n".repeat(200);
const longFolder = "folder-".repeat(25);

let folder: ScratchFolder;
let source: string;

function writeLinks(): void {
  linkSync(join(source, "text"), join(source, "text-link"));
  linkSync(join(source, "sub", longName), join(source, "sub", "long-link"));
  symlinkSync("text", join(source, "symlink"));
  symlinkSync(`/${"target/".repeat(40)}end`, join(source, "long-symlink"));
}

function writeSparse(name: string, islands: number, sizeBytes: number): void {
  const path = join(source, name);
  writeFileSync(path, "");
  truncateSync(path, sizeBytes);
  const file = openSync(path, "r+");
  for (let index = 0; index < islands; index++) {
    writeSync(file, randomBytes(`${name} ${index}`, 5000), 0, 5000, index * 65_536 + 8192);
  }
  closeSync(file);
}

function writeAttributes(): void {
  const fd = open(source, openFlag.readOnly);
  setXattr(fd, byteStringOfText("text"), "user.note", Buffer.from([0, 1, 2, 0xff, 0x0a]));
  const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
  setXattr(fd, byteStringOfText("program"), "security.capability", capability);
  close(fd);
  chmodSync(join(source, "program"), 0o4755);
  chmodSync(join(source, "sub"), 0o2775);
  chownSync(join(source, "foreign"), 3_000_000, 4_000_000_000);
  utimesSync(join(source, "sub", longName), 1_234_567_890.5, 1_234_567_890.123);
  utimesSync(join(source, "future"), 5_000_000_000, 5_000_000_000);
}

beforeAll(async () => {
  await prepareArchivers();
  folder = scratchFolder("tar");
  source = join(folder.path, "source");
  mkdirSync(join(source, "sub", longFolder), { recursive: true });
  writeFileSync(join(source, "text"), "some text\n".repeat(500));
  writeFileSync(join(source, "empty"), "");
  writeFileSync(join(source, "program"), randomBytes("program", 100_000));
  writeFileSync(join(source, "foreign"), "of a large owner");
  writeFileSync(join(source, "future"), "beyond 33 bits of seconds");
  writeFileSync(join(source, "naïve-é-日本語"), "UTF-8");
  writeFileSync(Buffer.concat([Buffer.from(`${source}/latin-`), Buffer.from([0xe9])]), "bytes");
  writeFileSync(join(source, "sub", longName), "long");
  writeFileSync(join(source, "sub", longFolder, longName), "longer");
  for (const size of [511, 512, 513]) writeFileSync(join(source, `s${size}`), "x".repeat(size));
  writeSparse("sparse-few", 3, MiB);
  writeSparse("sparse-many", 200, 20 * MiB);
  writeSparse("sparse-none", 0, MiB);
  writeLinks();
  await runCommand(["mkfifo", join(source, "fifo")]);
  await runCommand(["mknod", join(source, "null"), "c", "1", "3"]);
  await runCommand(["mknod", join(source, "loop"), "b", "7", "9"]);
  writeAttributes();
}, 300_000);

afterAll(() => {
  folder[Symbol.dispose]();
});

async function compareWithTar(archiver: Archiver): Promise<string[]> {
  using scratch = scratchFolder("tar");
  const file = join(scratch.path, "archive.tar");
  await archiver.write(source, file);
  const target = join(scratch.path, "unpacked");
  mkdirSync(target);
  const extract = ["tar", "--extract", "--preserve-permissions", "--same-owner"];
  const flags = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore"];
  await tryCommand([...extract, ...flags, "--file", file, "--directory", target]);
  const sink = new MemorySink();
  const { tree } = await buildTarTree(pieces(readFileSync(file), 10_000), {
    sink,
    chunkBytes: 65_536,
  });
  expect(tree.names.length).toBeGreaterThan(10);
  return treeDifferences(readTree(target), factsOfTree(tree, sink));
}

describe("buildTarTree() reads what is written by", () => {
  for (const archiver of archivers) {
    test(archiver.name, async () => {
      expect(await compareWithTar(archiver)).toEqual([]);
    });
  }

  test("all of them as containerd does", async () => {
    using scratch = scratchFolder("tar");
    const understood = archivers.filter(({ isUnderstood = true }) => isUnderstood);
    const tars: Buffer[][] = [];
    for (const archiver of understood) {
      const file = join(scratch.path, "archive.tar");
      await archiver.write(source, file);
      tars.push([readFileSync(file)]);
    }
    const results = await compareChains(join(scratch.path, "chains"), tars);
    const failures = results.flatMap(({ differences, unpacked }, index) =>
      differences.length + (unpacked[0] === "ok" ? 0 : 1) === 0
        ? []
        : [[understood[index]?.name, unpacked, ...differences]],
    );
    expect(failures).toEqual([]);
  });
});
