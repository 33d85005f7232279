/** `dedup-snapshotter lazy`: which layers are lazy, how much of them is there, why others not. */
import { defineCommand } from "citty";
import type { LazyImageView, LazyLayerView, LazyView } from "../claim/lazy-view.ts";
import { callApi } from "./admin-api.ts";
import { guard, printLine } from "./command.ts";
import { describeProgress } from "./progress-bar.ts";

export const lazyCommand = defineCommand({
  meta: { name: "lazy", description: "Show which layers are lazy, and why others are not" },
  args: { json: { type: "boolean", description: "Print the JSON of GET /lazy" } },
  run: ({ args }) =>
    guard(async () => {
      const view = await callApi<LazyView>("GET", "/lazy");
      if (args.json) printLine(JSON.stringify(view, undefined, 2));
      else printView(view);
    }),
});

function printView({ enabled, dedupd, backend, images }: LazyView): void {
  if (!enabled) printLine("lazy layers are switched off");
  printLine(dedupd === "away" ? "dedupd is away" : `backend ${backend}`);
  for (const image of images) printImage(image);
}

function printImage(view: LazyImageView): void {
  printLine(view.bytes === 0 ? view.image : `${view.image}: ${describeProgress(view)}`);
  for (const layer of view.layers) printLine(`  ${describeLayer(layer)}`);
}

export function describeLayer(layer: LazyLayerView): string {
  const { digest, decision, state, reason } = layer;
  const isFilling = state !== null && state !== "complete" && layer.bytes > 0;
  const parts = [decision, state ?? "", isFilling ? describeProgress(layer) : "", reason ?? ""];
  return `${digest} ${parts.filter((part) => part !== "").join(", ")}`;
}
