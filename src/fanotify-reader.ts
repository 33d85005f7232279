/**
 * The entry of a thread that answers pre-content events. It gets one message, and from then on
 * waits in system calls.
 *
 * @module
 */
import { describeError } from "./errors.ts";
import type { ReaderMessage } from "./fanotify-readers.ts";
import { EventReader, type ReaderOptions } from "./ondemand/fanotify/event-reader.ts";

declare const self: Worker;

const post = (message: ReaderMessage): void => self.postMessage(message);

self.addEventListener("message", (event: MessageEvent<ReaderOptions>) => {
  try {
    const reader = new EventReader(event.data, post);
    post({ kind: "ready" });
    reader.run();
    post({ kind: "ended" });
  } catch (error) {
    post({ kind: "ended", reason: describeError(error) });
  }
});
