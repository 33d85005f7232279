/**
 * Writes eStargz (docs/estargz.md): a gzip member begins at each chunk of content and takes what
 * follows the chunk in the tar along; the table of contents is the last file of the tar.
 *
 * @module
 */
import { deflateRaw } from "node:zlib";
import { promisify } from "node:util";
import { KiB, MiB } from "../../util/bytes.ts";
import { sha256Digest } from "../../util/digest.ts";
import { annotation } from "../annotations.ts";
import { tocFileName } from "../special-files.ts";
import type { BlobSink, FrameRange } from "../write/frame-queue.ts";
import { LayerWriter, type LazyBlob } from "../write/layer-writer.ts";
import { fileHeader, paddingOf, tarEnd } from "../write/tar-header.ts";
import type { TarPart } from "../write/tar-parts.ts";
import { makeEstargzFooter } from "./footer.ts";

/** Three percent larger than the highest, at a third of the time. */
const deflateLevel = 6;
/** Headers of files without content, of which there may be any number in a row. */
const memberBytesMax = 4 * MiB;
/** From this on, a member more costs less than a copy of the content. */
const copiedBytesMax = 256 * KiB;
/** Below this, handing it to another thread takes longer than compressing it. */
const threadBytesMin = 16 * KiB;

/** No time, no name, a system that is not known (RFC 1952, section 2.3.1). */
const gzipHeader = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);

const deflateInThread = promisify(deflateRaw);

export async function writeEstargz(
  parts: AsyncIterable<TarPart>,
  sink: BlobSink,
): Promise<LazyBlob> {
  const writer = new LayerWriter("estargz", gzipMember, sink);
  const members = new Members(writer);
  for await (const part of parts) {
    if (part.kind === "end") break;
    if (part.kind === "entry") writer.addEntry(part.entry, part.times);
    else if (part.kind === "raw") await members.add(part.bytes);
    else await members.begin(part.bytes, writer.addChunk(part));
  }
  await members.flush();
  return finish(writer);
}

async function finish(writer: LayerWriter): Promise<LazyBlob> {
  const { queue } = writer;
  await queue.flush();
  const toc = writer.finishToc();
  const tocOffset = queue.position;
  const header = fileHeader(tocFileName, toc.length, 0o444);
  // A tar may end without the padding of its last file.
  const missing = paddingOf(writer.tarBytes);
  const end = Buffer.concat([missing, header, toc, paddingOf(toc.length), tarEnd]);
  writer.hash(end);
  await queue.write(await gzipMember(end));
  await queue.write(makeEstargzFooter(tocOffset));
  return {
    digest: queue.digest(),
    sizeBytes: queue.position,
    diffId: writer.diffId(),
    tarBytes: writer.tarBytes,
    annotations: {
      [annotation.estargzTocDigest]: sha256Digest(toc),
      [annotation.estargzUncompressedSize]: String(writer.tarBytes),
    },
  };
}

/** Collects parts of the tar until the next member begins. */
class Members {
  readonly #writer: LayerWriter;
  #parts: Uint8Array[] = [];
  #sizeBytes = 0;
  #onPlaced: ((range: FrameRange) => void) | undefined;

  constructor(writer: LayerWriter) {
    this.#writer = writer;
  }

  /** A chunk begins a member; a large one is alone in it, so that it need not be copied. */
  async begin(bytes: Uint8Array, onPlaced: (range: FrameRange) => void): Promise<void> {
    await this.flush();
    this.#onPlaced = onPlaced;
    this.#push(bytes);
    if (bytes.length >= copiedBytesMax) await this.flush();
  }

  async add(bytes: Uint8Array): Promise<void> {
    this.#push(bytes);
    if (this.#sizeBytes > 2 * memberBytesMax) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#sizeBytes === 0) return;
    const [first = new Uint8Array()] = this.#parts;
    const content = this.#parts.length === 1 ? first : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#sizeBytes = 0;
    const onPlaced = this.#onPlaced;
    this.#onPlaced = undefined;
    await this.#writer.queue.add(content, onPlaced);
  }

  #push(bytes: Uint8Array): void {
    this.#writer.hash(bytes);
    this.#parts.push(bytes);
    this.#sizeBytes += bytes.length;
  }
}

/**
 * The same bytes in every run: a member has no time, and which of two encoders makes it follows
 * from its size.
 */
function gzipMember(content: Uint8Array): Uint8Array | Promise<Uint8Array> {
  if (content.length >= threadBytesMin) {
    return deflateInThread(content, { level: deflateLevel }).then((deflated) =>
      wrap(content, deflated),
    );
  }
  const bytes = content as Uint8Array<ArrayBuffer>;
  return wrap(content, Bun.deflateSync(bytes, { level: deflateLevel, library: "libdeflate" }));
}

function wrap(content: Uint8Array, deflated: Uint8Array): Buffer {
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(Bun.hash.crc32(content));
  trailer.writeUInt32LE(content.length, 4);
  return Buffer.concat([gzipHeader, deflated, trailer]);
}
