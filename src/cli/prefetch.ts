/** `dedup-snapshotter prefetch`: has the content of a lazy image fetched, and waits for it. */
import { defineCommand } from "citty";
import type { PrefetchStatus } from "../claim/prefetches.ts";
import { AppError } from "../errors.ts";
import { formatSize } from "../util/bytes.ts";
import { callApi } from "./admin-api.ts";
import { guard, printLine } from "./command.ts";
import { bar, clearLine, describeProgress, type ProgressOutput } from "./progress-bar.ts";

const pollMs = 500;

export const prefetchCommand = defineCommand({
  meta: { name: "prefetch", description: "Fetch the content of a lazy image now" },
  args: {
    image: { type: "positional", description: "As it was pulled", required: true },
    trace: { type: "string", description: "Only what this file below prefetch.trace_dir names" },
  },
  run: ({ args }) => guard(() => runPrefetch(args.image, args.trace)),
});

async function runPrefetch(image: string, trace: string | undefined): Promise<void> {
  const body = trace === undefined ? { image } : { image, trace };
  let status = await callApi<PrefetchStatus>("POST", "/prefetch", body);
  if (status.unknown > 0) {
    process.stderr.write(`warning: the image does not know ${status.unknown} lines of the trace\n`);
  }
  const progress = new PrefetchProgress(process.stderr);
  while (status.state === "fetching") {
    progress.show(status);
    await Bun.sleep(pollMs);
    status = await callApi<PrefetchStatus>("GET", `/prefetch/${status.id}`);
  }
  progress.end();
  if (status.state === "failed") {
    throw new AppError("data_loss", `Not all was fetched: ${status.reason ?? "no reason given"}`);
  }
  printLine(`${status.present_pieces} chunks, ${formatSize(status.present_bytes)} are there`);
}

/** A bar on a terminal; elsewhere only what there is to say. */
export class PrefetchProgress {
  readonly #output: ProgressOutput;
  #reason: string | null = null;

  constructor(output: ProgressOutput) {
    this.#output = output;
  }

  show(status: PrefetchStatus): void {
    if (status.reason !== null && status.reason !== this.#reason) {
      this.end();
      this.#output.write(`waiting: ${status.reason}\n`);
    }
    this.#reason = status.reason;
    if (!this.#output.isTTY) return;
    const { bytes, present_bytes: present } = status;
    this.#output.write(`${clearLine}${bar(present, bytes)} ${describeProgress(status)}`);
  }

  /** Takes the bar away. */
  end(): void {
    if (this.#output.isTTY) this.#output.write(clearLine);
  }
}
