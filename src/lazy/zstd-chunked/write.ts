/**
 * Writes zstd:chunked in the dialect of containers/storage: a zstd frame for each chunk of content
 * and for what lies between contents, then skippable frames with the table of contents, with
 * tar-split data, and with the footer. The tar stays as it is, byte by byte.
 *
 * @module
 */
import { MiB } from "../../util/bytes.ts";
import { sha256Digest } from "../../util/digest.ts";
import { annotation } from "../annotations.ts";
import type { BlobSink } from "../write/frame-queue.ts";
import { LayerWriter, type LazyBlob } from "../write/layer-writer.ts";
import type { TarPart } from "../write/tar-parts.ts";
import { frameHeaderBytes, makeZstdFooter, skippableFrame } from "./footer.ts";
import { formatTarSplitPosition, formatTocPosition, type ZstdPlace } from "./position.ts";
import { TarSplitBuilder } from "./tar-split.ts";

/** As podman has it. */
const zstdLevel = 3;
const rawFrameBytes = 4 * MiB;

export async function writeZstdChunked(
  parts: AsyncIterable<TarPart>,
  sink: BlobSink,
): Promise<LazyBlob> {
  const writer = new LayerWriter("zstd-chunked", zstdFrame, sink);
  const tarSplit = new TarSplitBuilder(zstdFrame);
  const between = new RawFrames(writer);
  for await (const part of parts) {
    if (part.kind === "raw") {
      tarSplit.addRaw(part.bytes);
      await between.add(part.bytes);
    } else if (part.kind === "entry") {
      tarSplit.addEntry(part.entry);
      writer.addEntry(part.entry, part.times);
    } else if (part.kind === "content") {
      await between.flush();
      tarSplit.addContent(part.bytes);
      writer.hash(part.bytes);
      await writer.queue.add(part.bytes, writer.addChunk(part));
    }
  }
  await between.flush();
  return finish(writer, tarSplit);
}

async function zstdFrame(content: Uint8Array): Promise<Uint8Array> {
  return Bun.zstdCompress(content, { level: zstdLevel });
}

async function finish(writer: LayerWriter, tarSplit: TarSplitBuilder): Promise<LazyBlob> {
  const { queue } = writer;
  await queue.flush();
  const split = await tarSplit.finish();
  const json = writer.finishToc({ tarSplitDigest: sha256Digest(split.bytes) });
  const toc = await zstdFrame(json);
  const tocPlace = await writeFrame(writer, toc, json.length);
  const splitPlace = await writeFrame(writer, split.bytes, split.uncompressedBytes);
  await queue.write(makeZstdFooter(tocPlace, splitPlace));
  return {
    digest: queue.digest(),
    sizeBytes: queue.position,
    diffId: writer.diffId(),
    tarBytes: writer.tarBytes,
    annotations: {
      [annotation.zstdTocDigest]: sha256Digest(toc),
      [annotation.zstdTocPosition]: formatTocPosition(tocPlace),
      [annotation.zstdTarSplitPosition]: formatTarSplitPosition(splitPlace),
    },
  };
}

async function writeFrame(
  { queue }: LayerWriter,
  content: Uint8Array,
  uncompressedBytes: number,
): Promise<ZstdPlace> {
  const offsetBytes = queue.position + frameHeaderBytes;
  await queue.write(skippableFrame(content));
  return { offsetBytes, lengthBytes: content.length, uncompressedBytes };
}

/** Collects what lies between two contents. */
class RawFrames {
  readonly #writer: LayerWriter;
  #parts: Uint8Array[] = [];
  #sizeBytes = 0;

  constructor(writer: LayerWriter) {
    this.#writer = writer;
  }

  async add(bytes: Uint8Array): Promise<void> {
    this.#writer.hash(bytes);
    this.#parts.push(bytes);
    this.#sizeBytes += bytes.length;
    if (this.#sizeBytes > rawFrameBytes) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#sizeBytes === 0) return;
    const content = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#sizeBytes = 0;
    await this.#writer.queue.add(content);
  }
}
