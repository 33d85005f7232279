/** `dedup-snapshotter recompress`: has the daemon rewrite what earlier settings have stored. */
import { defineCommand } from "citty";
import { AppError } from "../errors.ts";
import type { MaintenancePlan, MaintenanceStatus } from "../layer/maintenance.ts";
import { formatSize } from "../util/bytes.ts";
import { callApi } from "./admin-api.ts";
import { guard, printLine } from "./command.ts";

const pollMs = 500;

export const recompressCommand = defineCommand({
  meta: { name: "recompress", description: "Store old content as the current setting would" },
  args: {
    "dry-run": { type: "boolean", description: "Only tell how much there is to do" },
    wait: { type: "boolean", description: "Show the progress until it has ended" },
    cancel: { type: "boolean", description: "Stop; what is done stays done" },
  },
  run: ({ args }) =>
    guard(async () => {
      if (args.cancel === true) printStatus(await callApi("DELETE", "/recompress"));
      else if (args["dry-run"] === true) await printPlan();
      else await startRun(args.wait === true);
    }),
});

async function printPlan(): Promise<void> {
  const plan = await callApi<MaintenancePlan>("GET", "/recompress/plan");
  printLine(`${plan.layers} layers to rewrite, ${formatSize(plan.content_bytes)} of content`);
}

async function startRun(waits: boolean): Promise<void> {
  await printPlan();
  await callApi("POST", "/recompress");
  if (!waits) {
    printLine("started; `dedup-snapshotter recompress --wait` shows the progress");
    return;
  }
  let shown = "";
  for (;;) {
    const status = await callApi<MaintenanceStatus>("GET", "/recompress");
    if (!status.wanted) {
      finish(status);
      return;
    }
    const line = lineOf(status);
    if (line !== shown) printLine(line);
    shown = line;
    await Bun.sleep(pollMs);
  }
}

function finish(status: MaintenanceStatus): void {
  printStatus(status);
  const { problem } = status.recompress;
  if (problem === null) return;
  throw new AppError("failed_precondition", `Not all was rewritten: ${problem}`, {
    remedy: "mend the cause and run it again: it goes on where it ended",
  });
}

function printStatus(status: MaintenanceStatus): void {
  printLine(lineOf(status));
}

function lineOf({ running, wanted, recompress }: MaintenanceStatus): string {
  const { layers_done: done, layers_failed: failed, layers_left: left } = recompress;
  const state = wanted ? (running === "recompress" ? "running" : "waiting") : "ended";
  const written = formatSize(recompress.written_bytes);
  return `${state}: ${done} layers rewritten, ${failed} failed, ${left} left, ${written} written`;
}
