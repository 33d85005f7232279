/**
 * The entry of a thread that reads, decompresses and hashes a blob, for the thread that made it and
 * takes the layer apart meanwhile.
 *
 * @module
 */
import type { BlobSource } from "./layer/blob-bytes.ts";
import { PieceFiller, type SharedBytes } from "./layer/piece-ring.ts";
import { DecodedBlob } from "./layer/tar-stream.ts";
import type { AppliedBlob } from "./snapshot/contract.ts";
import { defined } from "./util/assert.ts";
import { ThreadChannel } from "./util/thread-channel.ts";

declare const self: Worker;

let openBlob: DecodedBlob | undefined;
let filler: PieceFiller | undefined;

function blob(): DecodedBlob {
  return defined(openBlob, "the blob of the decoder");
}

const handlers = {
  async open(source: BlobSource): Promise<void> {
    openBlob = await DecodedBlob.open(source, (offsetBytes, lengthBytes) =>
      channel.call<Uint8Array>("read", { offsetBytes, lengthBytes }),
    );
  },

  /** Resolves when all of the blob was handed over. */
  decode(buffers: readonly SharedBytes[]): Promise<void> {
    filler = new PieceFiller(buffers, (filled) => channel.call("take", filled));
    return filler.fill((target) => blob().read(target));
  },

  async verify(): Promise<void> {
    await filler?.stop();
    await blob().verify();
  },

  facts(): AppliedBlob {
    return blob().facts();
  },

  async close(): Promise<void> {
    await filler?.stop();
    await openBlob?.[Symbol.asyncDispose]();
  },
};

const channel = new ThreadChannel((message) => self.postMessage(message), handlers);
self.addEventListener("message", (event: MessageEvent<unknown>) => channel.receive(event.data));
