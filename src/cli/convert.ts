/** `dedup-snapshotter convert`: makes any image lazy, and keeps it an ordinary image. */
import { defineCommand } from "citty";
import { readFileSync, statSync } from "node:fs";
import type { ConversionReport } from "../convert/events.ts";
import { convertImage, type ConversionOptions } from "../convert/image.ts";
import { parsePlatform } from "../convert/platform.ts";
import { startLayerThreads } from "../convert/threads.ts";
import { AppError } from "../errors.ts";
import type { LazyFormat } from "../lazy/model.ts";
import { cleanName } from "../lazy/write/priority.ts";
import type { ImageTarget } from "../oci/contract.ts";
import { parseTrace } from "../ondemand/trace/format.ts";
import { openSource, openTarget } from "../oci/open-image.ts";
import { MiB } from "../util/bytes.ts";
import { guard, printLine } from "./command.ts";
import { ConversionProgress } from "./progress-bar.ts";
import { readTraceFile } from "./trace.ts";
import { registryAccess } from "./registry-access.ts";

const formats: readonly LazyFormat[] = ["estargz", "zstd-chunked"];
/** Of a list of files that go first. */
const listBytesMax = 64 * MiB;
/** Of a trace, which each thread is given. */
const tracedMax = 2 ** 17;

export const convertCommand = defineCommand({
  meta: { name: "convert", description: "Make an image lazy (eStargz or zstd:chunked)" },
  args: {
    source: {
      type: "positional",
      description: "Registry reference, or oci:PATH[:TAG] of a layout (a folder or a tar)",
      required: true,
    },
    destination: { type: "positional", description: "Where it goes, likewise", required: true },
    format: { type: "string", description: "estargz or zstd-chunked", default: "estargz" },
    platform: { type: "string", description: "Only this one, such as linux/arm64; else all" },
    prioritize: { type: "string", description: "File with paths, one a line, that go first" },
    trace: { type: "string", description: "File with a trace, whose content goes first" },
  },
  run: ({ args }) =>
    guard(() =>
      runConvert(args.source, args.destination, {
        format: parseFormat(args.format),
        platform: args.platform === undefined ? undefined : parsePlatform(args.platform),
        wanted: args.prioritize === undefined ? [] : readList(args.prioritize),
        traced: args.trace === undefined ? [] : readHashes(args.trace),
      }),
    ),
});

function parseFormat(text: string): LazyFormat {
  const format = formats.find((known) => known === text);
  if (format !== undefined) return format;
  const remedy = `name one of: ${formats.join(", ")}`;
  throw new AppError("invalid_argument", `"${text}" is no format of lazy images`, { remedy });
}

/** The paths of a file, each once. */
function readList(path: string): string[] {
  try {
    if (statSync(path).size <= listBytesMax) {
      const lines = readFileSync(path, "utf8").split("\n");
      return [...new Set(lines.map(cleanName).filter((name) => name !== ""))];
    }
  } catch (cause) {
    throw new AppError("not_found", `Cannot read the list of files "${path}"`, { cause });
  }
  throw new AppError("invalid_argument", `"${path}" is longer than any list of files`);
}

function readHashes(path: string): string[] {
  return parseTrace(readTraceFile(path), path, tracedMax).map(({ sha256 }) => sha256);
}

async function runConvert(from: string, to: string, options: ConversionOptions): Promise<void> {
  const registries = registryAccess();
  const source = await openSource(from, registries);
  const target = await openTarget(to, registries, from);
  const release = closeOnSignal(target);
  const progress = new ConversionProgress(process.stderr);
  try {
    const { promise: crash, reject } = Promise.withResolvers<never>();
    using threads = startLayerThreads(reject);
    const conversion = convertImage(source, target, options, threads.run, progress);
    const report = await Promise.race([conversion, crash]);
    progress.end();
    printReport(report, target);
  } finally {
    progress.end();
    release();
    await target.close();
  }
}

function printReport(report: ConversionReport, target: ImageTarget): void {
  for (const path of report.missing) {
    process.stderr.write(`warning: no layer has the prioritized file "/${path}"\n`);
  }
  if (report.unknown > 0) {
    process.stderr.write(`warning: no layer has the content of ${report.unknown} lines\n`);
  }
  printLine(`${report.digest} ${target.name}`);
}

/** Leaves nothing behind where somebody loses patience; to be called when it is over. */
function closeOnSignal(target: ImageTarget): () => void {
  const signals = { SIGINT: 130, SIGTERM: 143 } as const;
  const handlers = Object.entries(signals).map(([signal, exitCode]) => {
    const handler = () => void target.close().finally(() => process.exit(exitCode));
    process.once(signal, handler);
    return () => process.removeListener(signal, handler);
  });
  return () => {
    for (const remove of handlers) remove();
  };
}
