/**
 * The entry of the threads of dedupd that decompress, verify and write what was fetched.
 *
 * This file must lie in `src/` itself, as `workers.ts` says.
 *
 * @module
 */
import { type FillJob, type FillResult, runFillJob } from "./ondemand/fill/fill-job.ts";
import { ThreadChannel } from "./util/thread-channel.ts";

declare const self: Worker;

const handlers = {
  configure: (): void => undefined,
  wake: (): void => undefined,
  fill: (job: FillJob): Promise<FillResult> => runFillJob(job),
};

const channel = new ThreadChannel((message) => self.postMessage(message), handlers);
self.addEventListener("message", (event: MessageEvent<unknown>) => channel.receive(event.data));
