/**
 * The entry of a thread that does one of two things with a blob, for the thread that made it and
 * takes the layer apart meanwhile: reads and decompresses it, or hashes what is in it.
 *
 * @module
 */
import type { BlobSource } from "./layer/blob-bytes.ts";
import { type FilledBuffer, PieceFiller, type SharedBytes } from "./layer/piece-ring.ts";
import { DecodedBlob, TarHasher } from "./layer/tar-stream.ts";
import type { AppliedBlob } from "./snapshot/contract.ts";
import { defined } from "./util/assert.ts";
import { ThreadChannel } from "./util/thread-channel.ts";

export interface DecoderRequest {
  readonly blob: BlobSource;
  readonly buffers: readonly SharedBytes[];
}

declare const self: Worker;

let openBlob: DecodedBlob | undefined;
let openFiller: PieceFiller | undefined;
let sharedBuffers: readonly SharedBytes[] = [];
const hasher = new TarHasher();

function filler(): PieceFiller {
  return defined(openFiller, "the blob of the decoder");
}

const handlers = {
  async decode({ blob, buffers }: DecoderRequest): Promise<void> {
    openBlob = await DecodedBlob.open(blob, (offsetBytes, lengthBytes) =>
      channel.call<Uint8Array>("read", { offsetBytes, lengthBytes }),
    );
    openFiller = new PieceFiller(openBlob.pieces(), buffers);
  },

  take(): Promise<FilledBuffer | undefined> {
    return filler().take();
  },

  giveBack(index: number): void {
    filler().giveBack(index);
  },

  async verify(): Promise<void> {
    await filler().stop();
    await defined(openBlob, "the blob of the decoder").verify();
  },

  async close(): Promise<void> {
    await openFiller?.stop();
    await openBlob?.[Symbol.asyncDispose]();
  },

  hash(buffers: readonly SharedBytes[]): void {
    sharedBuffers = buffers;
  },

  update({ index, lengthBytes }: FilledBuffer): void {
    hasher.update(defined(sharedBuffers[index], "a buffer").subarray(0, lengthBytes));
  },

  facts(): AppliedBlob {
    return hasher.facts();
  },
};

const channel = new ThreadChannel((message) => self.postMessage(message), handlers);
self.addEventListener("message", (event: MessageEvent<unknown>) => channel.receive(event.data));
