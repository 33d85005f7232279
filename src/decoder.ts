/**
 * The entry of a decoder thread: reads, decompresses and hashes one blob for the thread that made
 * it, which takes the layer apart meanwhile.
 *
 * @module
 */
import type { BlobSource } from "./layer/blob-bytes.ts";
import { type FilledBuffer, PieceFiller, type SharedBytes } from "./layer/piece-ring.ts";
import { LocalTarStream } from "./layer/tar-stream.ts";
import type { AppliedBlob } from "./snapshot/contract.ts";
import { defined } from "./util/assert.ts";
import { ThreadChannel } from "./util/thread-channel.ts";

export interface DecoderRequest {
  readonly blob: BlobSource;
  readonly buffers: readonly SharedBytes[];
}

declare const self: Worker;

let openStream: LocalTarStream | undefined;
let openFiller: PieceFiller | undefined;

function stream(): LocalTarStream {
  return defined(openStream, "the blob of the decoder");
}

function filler(): PieceFiller {
  return defined(openFiller, "the blob of the decoder");
}

const handlers = {
  async open({ blob, buffers }: DecoderRequest): Promise<void> {
    openStream = await LocalTarStream.open(blob, (offsetBytes, lengthBytes) =>
      channel.call<Uint8Array>("read", { offsetBytes, lengthBytes }),
    );
    openFiller = new PieceFiller(openStream.pieces(), buffers);
  },

  take(returned: number | undefined): Promise<FilledBuffer | undefined> {
    return filler().take(returned);
  },

  async verify(): Promise<void> {
    await filler().stop();
    await stream().verify();
  },

  facts(): Promise<AppliedBlob> {
    return stream().facts();
  },

  async close(): Promise<void> {
    await openFiller?.stop();
    await openStream?.[Symbol.asyncDispose]();
  },
};

const channel = new ThreadChannel((message) => self.postMessage(message), handlers);
self.addEventListener("message", (event: MessageEvent<unknown>) => channel.receive(event.data));
