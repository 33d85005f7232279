/**
 * Maps of sparse files: which parts of a file the archive holds; the rest are zeros.
 *
 * Four encodings: in the header and blocks behind it (old GNU, type `S`), and in PAX records: 0.0
 * and 0.1 as records, 1.0 as text before the content.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import type { ByteSource } from "./byte-source.ts";
import {
  blockBytes,
  gnuField,
  longNumberBytes,
  sparseEntriesInBlock,
  sparseEntriesInHeader,
  sparseEntriesMax,
  sparseEntryBytes,
  sparseNumberBytesMax,
} from "./format.ts";
import { parseDecimal, readNumber } from "./numbers.ts";
import { paxKey, type PaxRecords } from "./pax.ts";

/** Data runs in order: offset and length in bytes, in turn; none is empty. */
export type SparseMap = readonly number[];

export function sparseError(offset: number, problem: string): FormatError {
  return new FormatError("sparse map", offset, problem);
}

/** Offsets and lengths as they were read, which may be anything. */
class MapBuilder {
  readonly #numbers: number[] = [];
  readonly #offset: number;

  constructor(offset: number) {
    this.#offset = offset;
  }

  add(number: number | undefined): void {
    if (number === undefined) throw sparseError(this.#offset, "what is no number");
    if (this.#numbers.length >= 2 * sparseEntriesMax) {
      throw sparseError(this.#offset, `more than ${sparseEntriesMax} entries`);
    }
    this.#numbers.push(number);
  }

  /** The map, if it fits into a file of this size and to the bytes the archive has of it. */
  finish(sizeBytes: number, storedBytes: number): SparseMap {
    const map: number[] = [];
    let end = 0;
    let sumBytes = 0;
    for (let index = 0; index < this.#numbers.length; index += 2) {
      const offset = this.#numbers[index] ?? 0;
      const length = this.#numbers[index + 1] ?? 0;
      if (length < 0 || offset < end || offset + length > sizeBytes) {
        throw sparseError(this.#offset, `a run of ${length} bytes at ${offset}`);
      }
      end = offset + length;
      sumBytes += length;
      if (length > 0) map.push(offset, length);
    }
    if (sumBytes !== storedBytes) {
      throw sparseError(this.#offset, `${sumBytes} bytes, the archive has ${storedBytes}`);
    }
    return map;
  }
}

export interface SparseContent {
  readonly map: SparseMap;
  /** Of the file, with its holes. */
  readonly sizeBytes: number;
  /** Of the archive's bytes for the file, how many the map itself was. */
  readonly mapBytes: number;
}

/** The map of an entry of type `S`, of which the first part is in the header. */
export async function readGnuSparse(
  block: Buffer,
  source: ByteSource,
  storedBytes: number,
): Promise<SparseContent> {
  const offset = source.position;
  const sizeBytes = readNumber(block, gnuField.realSize, longNumberBytes);
  if (sizeBytes === undefined || sizeBytes < 0) throw sparseError(offset, "no size of the file");
  const builder = new MapBuilder(offset);
  readGnuEntries(block, gnuField.sparse, sparseEntriesInHeader, builder);
  let hasMore = block[gnuField.isExtended] !== 0;
  while (hasMore) {
    const extension = await source.block();
    if (extension.length < blockBytes) throw sparseError(source.position, "the archive ends");
    readGnuEntries(extension, 0, sparseEntriesInBlock, builder);
    hasMore = extension[sparseEntriesInBlock * sparseEntryBytes] !== 0;
  }
  return { map: builder.finish(sizeBytes, storedBytes), sizeBytes, mapBytes: 0 };
}

function readGnuEntries(block: Buffer, start: number, count: number, builder: MapBuilder): void {
  for (let index = 0; index < count; index++) {
    const at = start + index * sparseEntryBytes;
    if (block[at] === 0) return;
    builder.add(readNumber(block, at, longNumberBytes));
    builder.add(readNumber(block, at + longNumberBytes, longNumberBytes));
  }
}

type PaxSparseFormat = "records" | "content";

/** Undefined where the records describe no sparse file, or one of a format not known. */
function paxSparseFormat(records: PaxRecords): PaxSparseFormat | undefined {
  const major = records.get(paxKey.sparseMajor) ?? "";
  const minor = records.get(paxKey.sparseMinor) ?? "";
  if (major === "0" && (minor === "0" || minor === "1")) return "records";
  if (major === "1" && minor === "0") return "content";
  if (`${major}${minor}` !== "") return undefined;
  return (records.get(paxKey.sparseMap) ?? "") === "" ? undefined : "records";
}

/** The map that PAX records give or announce; undefined where the file is not sparse. */
export async function readPaxSparse(
  records: PaxRecords,
  source: ByteSource,
  headerSizeBytes: number,
): Promise<SparseContent | undefined> {
  const format = paxSparseFormat(records);
  if (format === undefined) return undefined;
  const size = records.get(paxKey.sparseSize) || records.get(paxKey.sparseRealSize) || undefined;
  const sizeBytes = size === undefined ? headerSizeBytes : parseDecimal(size);
  if (sizeBytes === undefined || sizeBytes < 0) throw sparseError(source.position, "no file size");
  const builder = new MapBuilder(source.position);
  const mapBytes =
    format === "records"
      ? readMapOfRecords(records, builder, source.position)
      : await readMapOfContent(source, headerSizeBytes, builder);
  return { map: builder.finish(sizeBytes, headerSizeBytes - mapBytes), sizeBytes, mapBytes };
}

function readMapOfRecords(records: PaxRecords, builder: MapBuilder, offset: number): 0 {
  const text = records.get(paxKey.sparseMap) ?? "";
  const numbers = text === "" ? [] : text.split(",");
  const count = parseDecimal(records.get(paxKey.sparseCount) ?? "");
  if (count === undefined || numbers.length !== 2 * count) {
    throw sparseError(offset, `${numbers.length} numbers for ${count ?? "no"} entries`);
  }
  for (const number of numbers) builder.add(parseDecimal(number));
  return 0;
}

/** The map of format 1.0: lines of decimal numbers, the first the count, in whole blocks. */
async function readMapOfContent(
  source: ByteSource,
  storedBytes: number,
  builder: MapBuilder,
): Promise<number> {
  const start = source.position;
  let missing: number | undefined;
  let text = "";
  while (missing !== 0) {
    const mapBytes = source.position - start;
    const block = mapBytes + blockBytes > storedBytes ? undefined : await source.block();
    if (block?.length !== blockBytes) throw sparseError(start, "the map does not end");
    const lines = (text + block.toString("latin1", 0, blockBytes)).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) {
      if (missing === 0) break;
      const number = parseDecimal(line);
      if (missing === undefined) missing = 2 * countOf(number, start);
      else {
        builder.add(number);
        missing -= 1;
      }
    }
    if (missing !== 0 && text.length > sparseNumberBytesMax) {
      throw sparseError(start, "a number of too many digits");
    }
  }
  return source.position - start;
}

function countOf(number: number | undefined, offset: number): number {
  if (number !== undefined && number >= 0 && number <= sparseEntriesMax) return number;
  throw sparseError(offset, `${number ?? "no number"} of entries`);
}
