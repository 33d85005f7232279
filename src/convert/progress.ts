/** Progress that crosses a thread not for each piece, but for each megabyte. */
import { MiB } from "../util/bytes.ts";

export function batchedProgress(report: (bytes: number) => void): (bytes: number) => void {
  let pending = 0;
  return (bytes) => {
    pending += bytes;
    if (pending < MiB) return;
    report(pending);
    pending = 0;
  };
}
