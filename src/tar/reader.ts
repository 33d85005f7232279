/**
 * Reads a tar archive from a stream, entry by entry.
 *
 * The caller pulls: `next` gives an entry, `readContent` fills the caller's buffer from it. What is
 * not read of an entry's content is passed over. Nothing is kept but the entry at hand.
 *
 * An archive means here what Go's archive/tar makes of it, on which containerd's differ rests: the
 * end is two blocks of zeros, or the end of the stream between two entries (also where padding or
 * the second block is missing); a type without content has none, whatever its header says.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { alignUp } from "../util/bytes.ts";
import type { ByteString } from "../util/byte-string.ts";
import { ByteSource } from "./byte-source.ts";
import { hasContent, makeEntry, type TarEntry } from "./entry.ts";
import { blockBytes, globalBytesMax, metaHeadersMax, specialBytesMax, typeFlag } from "./format.ts";
import { decodeHeader, headerError, isZeroBlock, type Header } from "./header.ts";
import { readString } from "./numbers.ts";
import { parsePaxRecords, paxKey, type PaxRecords } from "./pax.ts";
import { readGnuSparse, readPaxSparse, sparseError, type SparseMap } from "./sparse.ts";

export interface TarReaderOptions {
  /**
   * Whether global PAX records hold for the entries behind them, as POSIX has it. Go, and with it
   * containerd, does not apply them.
   */
  readonly globalRecords: "apply" | "ignore";
}

const noRecords: PaxRecords = new Map();
const noMap: SparseMap = [];
const noName = "" as ByteString;

export class TarReader {
  readonly #source: ByteSource;
  readonly #options: TarReaderOptions;
  readonly #globals = new Map<ByteString, ByteString>();
  #globalBytes = 0;
  /** Bytes of the entry's content not read yet, as they lie in the archive. */
  #stored = 0;
  #padding = 0;
  /** Undefined where the content has no holes. */
  #map: SparseMap | undefined;
  #mapIndex = 0;
  #size = 0;
  #position = 0;
  #isAtEnd = false;
  /** Zeros that `readContent` has made up so far: the archive does not hold them. */
  filledBytes = 0;

  constructor(source: AsyncIterable<Uint8Array>, options: TarReaderOptions) {
    this.#source = new ByteSource(source);
    this.#options = options;
  }

  /** Bytes taken from the stream. */
  get position(): number {
    return this.#source.position;
  }

  /**
   * The next entry; undefined at the end of the archive.
   *
   * @throws FormatError for what is no tar and for a stream that ends within an entry
   */
  async next(): Promise<TarEntry | undefined> {
    let records = noRecords;
    const long = { name: noName, linkName: noName };
    for (let count = 0; count <= metaHeadersMax; count++) {
      const block = await this.#nextBlock();
      if (block === undefined) return undefined;
      const header = decodeHeader(block, this.position - blockBytes);
      this.#expectContent(header, header.sizeBytes);
      switch (header.flag) {
        case typeFlag.paxLocal:
          records = await this.#readRecords();
          break;
        case typeFlag.paxGlobal:
          return this.#readGlobals(header);
        case typeFlag.gnuLongName:
          long.name = await this.#readLongName();
          break;
        case typeFlag.gnuLongLink:
          long.linkName = await this.#readLongName();
          break;
        default:
          return this.#finishEntry(header, block, this.#withGlobals(records), long);
      }
    }
    throw headerError(this.position, `more than ${metaHeadersMax} headers for one entry`);
  }

  /**
   * Fills `target` with what comes next of the content, holes as zeros; the number of bytes, which
   * is less than the target's length only at the end of the content.
   */
  async readContent(target: Buffer): Promise<number> {
    const count = Math.min(target.length, this.#size - this.#position);
    let filled = 0;
    while (filled < count) {
      const hole = Math.min(this.holeBytes(), count - filled);
      if (hole > 0) {
        target.fill(0, filled, filled + hole);
        this.filledBytes += hole;
        this.skipHole(hole);
        filled += hole;
      } else {
        const end = filled + Math.min(count - filled, this.#runBytes());
        const isWhole = filled === 0 && end === target.length;
        await this.#readStored(isWhole ? target : target.subarray(filled, end));
        filled = end;
      }
    }
    return count;
  }

  /** Whether the entry's content may have holes. */
  get isSparse(): boolean {
    return this.#map !== undefined;
  }

  /** How many zeros come next that the archive does not hold; 0 where it holds the next byte. */
  holeBytes(): number {
    const map = this.#map;
    if (map === undefined) return 0;
    while (this.#mapIndex < map.length && this.#runEnd(map) <= this.#position) this.#mapIndex += 2;
    return Math.max(0, (map[this.#mapIndex] ?? this.#size) - this.#position);
  }

  /** Passes over zeros, at most as many as `holeBytes` says. */
  skipHole(sizeBytes: number): void {
    this.#position += sizeBytes;
  }

  /** Stored bytes in a row from here. */
  #runBytes(): number {
    return this.#map === undefined ? this.#stored : this.#runEnd(this.#map) - this.#position;
  }

  #runEnd(map: SparseMap): number {
    return (map[this.#mapIndex] ?? 0) + (map[this.#mapIndex + 1] ?? 0);
  }

  async #readStored(target: Buffer): Promise<void> {
    const count = await this.#source.read(target);
    if (count < target.length) throw this.#truncated("content");
    this.#stored -= count;
    this.#position += count;
  }

  #truncated(structure: string): FormatError {
    return new FormatError(`tar ${structure}`, this.position, "the stream ends");
  }

  /** The next header; undefined at the end of the archive. */
  async #nextBlock(): Promise<Buffer | undefined> {
    if (this.#isAtEnd) return undefined;
    if (this.#stored > 0 && (await this.#source.skip(this.#stored)) < this.#stored) {
      throw this.#truncated("content");
    }
    if (this.#padding > 0) await this.#source.skip(this.#padding);
    const block = this.#source.blockAtHand() ?? (await this.#source.block());
    if (block.length === blockBytes && !isZeroBlock(block)) return block;
    this.#isAtEnd = true;
    if (block.length === 0) return undefined;
    if (block.length < blockBytes) throw this.#truncated("header");
    const second = await this.#source.block();
    if (second.length > 0 && second.length < blockBytes) throw this.#truncated("end mark");
    if (second.length > 0 && !isZeroBlock(second)) {
      throw headerError(this.position - blockBytes, "only one block of zeros before it");
    }
    return undefined;
  }

  #expectContent(header: Header, sizeBytes: number): void {
    const stored = hasContent(header.flag) ? sizeBytes : 0;
    if (stored < 0) throw headerError(header.offset, `a size of ${stored}`);
    this.#stored = stored;
    this.#padding = alignUp(stored, blockBytes) - stored;
    this.#map = undefined;
    this.#size = stored;
    this.#position = 0;
  }

  /** The content of a header that describes the next one. */
  async #readSpecial(): Promise<Buffer> {
    if (this.#size > specialBytesMax) {
      throw headerError(this.position, `${this.#size} bytes about one entry`);
    }
    const bytes = Buffer.alloc(this.#size);
    await this.readContent(bytes);
    return bytes;
  }

  async #readRecords(): Promise<Map<ByteString, ByteString>> {
    const { position } = this;
    return parsePaxRecords(await this.#readSpecial(), position);
  }

  async #readLongName(): Promise<ByteString> {
    const bytes = await this.#readSpecial();
    return readString(bytes, 0, bytes.length);
  }

  async #readGlobals(header: Header): Promise<TarEntry> {
    const records = await this.#readRecords();
    if (this.#options.globalRecords === "apply") {
      for (const [key, value] of records) {
        this.#globalBytes += key.length + value.length - (this.#globals.get(key)?.length ?? 0);
        this.#globals.set(key, value);
      }
      if (this.#globalBytes > globalBytesMax) {
        throw headerError(header.offset, `more than ${globalBytesMax} bytes of global records`);
      }
    }
    const path = records.get(paxKey.path);
    const named: PaxRecords = path === undefined ? noRecords : new Map([[paxKey.path, path]]);
    return makeEntry(header, named, { name: noName, linkName: noName });
  }

  #withGlobals(records: PaxRecords): PaxRecords {
    return this.#globals.size === 0 ? records : new Map([...this.#globals, ...records]);
  }

  async #finishEntry(
    header: Header,
    block: Buffer,
    records: PaxRecords,
    long: { readonly name: ByteString; readonly linkName: ByteString },
  ): Promise<TarEntry> {
    const entry = makeEntry(header, records, long);
    this.#expectContent(header, entry.sizeBytes);
    const isOldSparse = header.flag === typeFlag.gnuSparse;
    if (!isOldSparse && records.size === 0) return entry;
    if (isOldSparse && header.dialect !== "gnu") {
      throw sparseError(header.offset, `a header of the ${header.dialect} dialect`);
    }
    const sparse = isOldSparse
      ? await readGnuSparse(block, this.#source, this.#stored)
      : await readPaxSparse(records, this.#source, this.#stored);
    if (sparse === undefined) return entry;
    if (!hasContent(header.flag)) throw sparseError(header.offset, `a ${entry.type}`);
    this.#map = sparse.map.length === 0 ? noMap : sparse.map;
    this.#mapIndex = 0;
    this.#stored -= sparse.mapBytes;
    this.#size = sparse.sizeBytes;
    const name = (isOldSparse ? "" : records.get(paxKey.sparseName)) || entry.name;
    return { ...entry, name, sizeBytes: sparse.sizeBytes };
  }
}
