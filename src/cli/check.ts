/** `dedup-snapshotter check`: the fsck of a root. */
import { defineCommand } from "citty";
import { existsSync } from "node:fs";
import { checkRoot } from "../check/check.ts";
import { repairFindings } from "../check/repair.ts";
import { loadConfig } from "../config/load.ts";
import { AppError } from "../errors.ts";
import { SnapshotMetadata } from "../snapshot/metadata.ts";
import { openIndex, verifyIndex } from "../store/index-database.ts";
import { storePaths, type StorePaths } from "../store/paths.ts";
import { tryLockRoot } from "../store/root-lock.ts";
import { formatSize, GiB } from "../util/bytes.ts";
import { guard, printLine } from "./command.ts";

export const checkCommand = defineCommand({
  meta: { name: "check", description: "Verify index, packs, images and snapshots" },
  args: {
    data: { type: "boolean", description: "Read and hash all content" },
    repair: { type: "boolean", description: "Mend what can be mended; the daemon must be stopped" },
  },
  run: ({ args }) =>
    guard(() => runCheck({ readsData: args.data === true, repairs: args.repair === true })),
});

interface CheckRun {
  readonly readsData: boolean;
  readonly repairs: boolean;
}

async function runCheck(run: CheckRun): Promise<void> {
  const paths = storePaths(loadConfig(process.env).root);
  if (!existsSync(paths.indexDatabase)) {
    throw new AppError("not_found", `"${paths.root}" is no root of dedup-snapshotter`, {
      remedy: "set ROOT or CONFIG as the daemon has them",
    });
  }
  using lock = tryLockRoot(paths);
  if (lock === undefined && run.repairs) {
    throw new AppError("failed_precondition", `A daemon is running on root "${paths.root}"`, {
      remedy: "stop it before repairs",
    });
  }
  await checkAndRepair(paths, run, lock !== undefined);
}

async function checkAndRepair(
  paths: StorePaths,
  run: CheckRun,
  isExclusive: boolean,
): Promise<void> {
  const metadata = SnapshotMetadata.open(paths.snapshotDatabase);
  using database = openIndex(paths.indexDatabase);
  try {
    verifyIndex(database, paths.indexDatabase);
    if (!isExclusive) printLine("a daemon is running: leftovers are not looked for");
    const snapshots = { layerReferences: metadata.layerReferences() };
    const progress = progressPrinter();
    const findings = checkRoot(database, paths, snapshots, { ...run, isExclusive, progress });
    for (const { subject, problem } of findings) printLine(`${subject}: ${problem}`);
    if (findings.length === 0) {
      printLine("no problems found");
      return;
    }
    printLine(`${findings.length} problems found`);
    if (run.repairs) for (const line of repairFindings(database, paths, findings)) printLine(line);
    const isMended = run.repairs && findings.every((finding) => finding.repairs.length > 0);
    if (!isMended) process.exitCode = 1;
  } finally {
    await metadata.close();
  }
}

/** Tells on standard error how much was read, each GiB. */
function progressPrinter(): (bytes: number) => void {
  let total = 0;
  return (bytes) => {
    const before = Math.floor(total / GiB);
    total += bytes;
    if (Math.floor(total / GiB) > before) process.stderr.write(`${formatSize(total)} read\n`);
  };
}
