/** `dedup-snapshotter stats`: the figures of the running daemon, for people. */
import { defineCommand } from "citty";
import type { NodeStatistics } from "../http/statistics.ts";
import type { DedupdStatus } from "../ondemand/control.ts";
import { formatSize } from "../util/bytes.ts";
import { describeSuspect } from "../claim/suspect-packs.ts";
import { callApi } from "./admin-api.ts";
import { guard, printLine, printTable } from "./command.ts";

type LazyFigures = NodeStatistics["lazy"];

export const statsCommand = defineCommand({
  meta: { name: "stats", description: "Show what the node holds and what it saves" },
  args: { json: { type: "boolean", description: "Print the JSON of GET /stats" } },
  run: ({ args }) =>
    guard(async () => {
      const statistics = await callApi<NodeStatistics>("GET", "/stats");
      if (args.json) printLine(JSON.stringify(statistics, undefined, 2));
      else printStatistics(statistics);
    }),
});

function describeLazy({ images, missing_bytes: missing, claims, dedupd }: LazyFigures): string {
  const decided = `${claims.lazy} lazy, ${claims.present} present, ${claims.not_lazy} pulled`;
  const backend = dedupd === null ? "dedupd is away" : `backend ${dedupd.backend}`;
  const prefetched = dedupd === null ? "" : describePrefetch(dedupd.prefetched);
  return `${images} images miss ${formatSize(missing)}; ${decided}; ${backend}${prefetched}`;
}

/** How much of what was prefetched was read, by why it was. */
function describePrefetch(figures: DedupdStatus["prefetched"]): string {
  const causes = Object.entries(figures).filter(([, { bytes }]) => bytes > 0);
  const shares = causes.map(([cause, { bytes, usedBytes, unseenBytes }]) => {
    const share = usedBytes / Math.max(1, bytes - unseenBytes);
    return `${cause} ${formatSize(bytes)} (${(share * 100).toFixed(0)} % used)`;
  });
  return shares.length === 0 ? "" : `; prefetched by ${shares.join(", ")}`;
}

function printStatistics(statistics: NodeStatistics): void {
  const { layers, images, chunks, conversions, early, mounts } = statistics;
  const saved = statistics.saved_bytes / Math.max(1, statistics.logical_bytes);
  printTable([
    ["layers", `${layers.converted} converted, ${layers.plain} plain`],
    ["images", `${images.count} (${formatSize(images.bytes)})`],
    ["chunks", `${chunks.unique} unique, ${chunks.references} references`],
    ["logical", formatSize(statistics.logical_bytes)],
    ["stored", formatSize(statistics.stored_bytes)],
    ["saved", `${formatSize(statistics.saved_bytes)} (${(saved * 100).toFixed(1)} %)`],
    ["ratio", statistics.dedup_ratio.toFixed(2)],
    [
      "conversions",
      `${conversions.done} done, ${conversions.skipped} skipped, ${conversions.failed} failed, ` +
        `${conversions.running} running, ${conversions.seconds.toFixed(1)} s`,
    ],
    ["lazy", describeLazy(statistics.lazy)],
    ["early", `${early.started} started, ${early.used} used, ${early.dropped} dropped`],
    ["mounts", `${mounts.file} by file, ${mounts.loop} by loop device`],
  ]);
  for (const suspect of statistics.lazy.suspects) printLine(`suspect: ${describeSuspect(suspect)}`);
  for (const layer of layers.plain_layers) printLine(`plain: ${layer.name}: ${layer.reason}`);
}
