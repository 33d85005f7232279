/**
 * The most memory the daemon takes for a layer: one large file and very many small ones, applied
 * from a blob and converted from a directory.
 *
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestDaemon } from "../../test/support/daemon.ts";
import { ContentFolder, DiffClient, gzipLayerType } from "../../test/support/diff-client.ts";
import { randomBytes } from "../../test/support/random.ts";
import { SnapshotsClient } from "../../test/support/snapshots-client.ts";
import { writeSmallFilesTar } from "../../test/support/tar/small-files.ts";
import { memoryMiB } from "../lib/memory.ts";
import { runCommand } from "../lib/process.ts";
import { say } from "../lib/project.ts";
import { scratchFolder } from "../lib/temp.ts";
import { median, report } from "./figures.ts";

const rounds = 3;
const largeFileMiB = 600;
const smallFiles = 300_000;
const MiB = 1024 * 1024;

interface Peak {
  readonly peakMiB: number;
  readonly seconds: number;
}

type Way = (daemon: TestDaemon, tar: string, content: ContentFolder) => Promise<number>;

/** The milliseconds of Apply and Commit, as in a pull by containerd 2. */
const apply: Way = async (daemon, tar, content) => {
  using snapshots = new SnapshotsClient(daemon.socket);
  using diff = new DiffClient(daemon.socket);
  const blob = content.putFile(`${tar}.gz`, gzipLayerType);
  const mounts = await snapshots.prepare("key", "");
  const startMs = performance.now();
  await diff.apply(blob, mounts);
  await snapshots.commit("layer", "key");
  return performance.now() - startMs;
};

/** The milliseconds of Commit alone, where the client has unpacked the layer. */
const commit: Way = async (daemon, tar) => {
  using snapshots = new SnapshotsClient(daemon.socket);
  const [mount] = await snapshots.prepare("key", "");
  await runCommand(["tar", "-C", mount?.source ?? "", "-xf", tar]);
  const startMs = performance.now();
  await snapshots.commit("layer", "key");
  return performance.now() - startMs;
};

async function measure(way: Way, scratch: string, tar: string): Promise<Peak> {
  using folder = scratchFolder("bench");
  // Beside the blobs, because they are linked into it.
  const root = join(scratch, `containerd-${crypto.randomUUID()}`);
  const containerd = { address: join(folder.path, "none.sock"), root };
  await using daemon = await TestDaemon.start(folder.path, { logLevel: "info", containerd });
  const durationMs = await way(daemon, tar, new ContentFolder(root));
  const peakMiB = memoryMiB(daemon.pid, "VmHWM");
  if (daemon.loggedConversions() !== 1) throw new Error(`not converted:\n${daemon.logEnd()}`);
  // Not stopped: it would finish deleting what was unpacked.
  return { peakMiB, seconds: durationMs / 1000 };
}

async function makeTars(scratch: string): Promise<Readonly<Record<string, string>>> {
  const large = join(scratch, "large.tar");
  const small = join(scratch, "small.tar");
  mkdirSync(join(scratch, "large"));
  writeFileSync(join(scratch, "large", "file"), randomBytes("large", largeFileMiB * MiB));
  await runCommand(["tar", "-C", join(scratch, "large"), "-cf", large, "."]);
  writeSmallFilesTar(small, smallFiles);
  await Promise.all([large, small].map((tar) => runCommand(["gzip", "--fast", "--keep", tar])));
  return { [`${largeFileMiB} MiB file`]: large, [`${smallFiles} small files`]: small };
}

/** @param scratch a folder for what is measured with */
export async function benchMemory(scratch: string): Promise<void> {
  const tars = await makeTars(scratch);
  const rows: string[][] = [];
  const results: Record<string, readonly Peak[]> = {};
  for (const [what, tar] of Object.entries(tars)) {
    for (const [how, way] of Object.entries({ apply, commit })) {
      say(`memory: ${how} of ${what}`);
      const peaks: Peak[] = [];
      for (let round = 0; round < rounds; round++) peaks.push(await measure(way, scratch, tar));
      const peak = median(peaks.map(({ peakMiB }) => peakMiB)).toFixed(0);
      const duration = median(peaks.map(({ seconds }) => seconds)).toFixed(2);
      rows.push([`${how} of ${what}`, peak, duration]);
      results[`${how} of ${what}`] = peaks;
    }
  }
  report("layer", ["resident at the peak, MiB", "seconds"], rows, results);
}
