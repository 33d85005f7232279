/**
 * Has worker threads read blobs, which they get from here where they cannot open the files.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { AppliedBlob, LayerBlob } from "../snapshot/contract.ts";
import { cancel, makeCancelFlag } from "../util/cancel-flag.ts";
import type { WorkerThread } from "../workers.ts";
import type { BlobSource, Download } from "./blob-bytes.ts";

/** A blob that can be read while it is not whole. */
export type DownloadedBlob = LayerBlob & { readonly download: Download };

export interface BlobJob {
  readonly thread: WorkerThread;
  readonly job: number;
  readonly blob: LayerBlob | DownloadedBlob;
  readonly signal: AbortSignal;
}

/** A builder's request for a part of the blob it applies. */
export interface BlobRead {
  readonly job: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export class BlobReads {
  /** By job. */
  readonly #blobs = new Map<number, LayerBlob>();

  /** Calls the thread's method with the blob; rejects with `cancelled` after the signal. */
  async run(
    method: "buildFromBlob" | "inspectBlob",
    { thread, job, blob, signal }: BlobJob,
    parameters: object = {},
  ): Promise<AppliedBlob> {
    refuseCancelled(blob, signal);
    const cancelFlag = makeCancelFlag();
    const abort = (): void => cancel(cancelFlag);
    this.#blobs.set(job, blob);
    signal.addEventListener("abort", abort);
    try {
      const request = { job, blob: sourceOf(blob), cancelFlag, ...parameters };
      return await thread.call<AppliedBlob>(method, request);
    } finally {
      signal.removeEventListener("abort", abort);
      this.#blobs.delete(job);
    }
  }

  /** Answers a builder that cannot open the file of its blob. */
  read({ job, offsetBytes, lengthBytes }: BlobRead): Promise<Uint8Array> {
    const blob = this.#blobs.get(job);
    if (blob === undefined) throw new AppError("internal", `No job ${job}`);
    return blob.read(offsetBytes, lengthBytes);
  }
}

/** What of a blob can go to a thread. */
function sourceOf(blob: LayerBlob | DownloadedBlob): BlobSource {
  const { digest, sizeBytes, file } = blob;
  if (!("download" in blob)) return { digest, sizeBytes, file };
  return { digest, sizeBytes, file, download: blob.download };
}

export function refuseCancelled(
  { digest }: Pick<LayerBlob, "digest">,
  { aborted }: AbortSignal,
): void {
  if (aborted) throw new AppError("cancelled", `Nobody waits for layer "${digest}" any more`);
}
