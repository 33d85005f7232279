/**
 * Reads the table of contents that both formats share, CRFS's: JSON with an entry for each entry of
 * the tar, and for each chunk of a file but the first.
 *
 * Sources: docs/estargz.md and estargz/types.go of stargz-snapshotter, minimal/compression.go of
 * containers/storage. The latter adds `endOffset` and chunks of type `zeros`, and gives a file of
 * one chunk only the digest of the file.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import type { EntryType } from "../tar/entry.ts";
import { typeFlag } from "../tar/format.ts";
import { innerOffsetBytesMax, lazyChunkBytesMax, tocBytesMax } from "./limits.ts";
import { jsonEntries } from "./json-entries.ts";
import type {
  LazyChunk,
  LazyEntry,
  LazyFormat,
  LazyLayer,
  LazyPrefetch,
  LazySource,
} from "./model.ts";
import { specialFile } from "./special-files.ts";
import { TocFields, tocError, tocTooLarge } from "./toc-fields.ts";
import { ChunkRanges } from "./toc-ranges.ts";

const types: Readonly<Record<string, { readonly type: EntryType; readonly flag: string }>> = {
  reg: { type: "file", flag: typeFlag.regular },
  hardlink: { type: "hard link", flag: typeFlag.hardLink },
  symlink: { type: "symlink", flag: typeFlag.symlink },
  char: { type: "character device", flag: typeFlag.characterDevice },
  block: { type: "block device", flag: typeFlag.blockDevice },
  dir: { type: "directory", flag: typeFlag.directory },
  fifo: { type: "fifo", flag: typeFlag.fifo },
};

const noChunks: readonly LazyChunk[] = [];

/**
 * @param json the table, uncompressed
 * @param tocOffsetBytes where the table begins in the blob: content lies before it
 * @throws AppError `data_loss` for what is no right table, `resource_exhausted` beyond the limits
 */
export function parseToc(json: Uint8Array, format: LazyFormat, tocOffsetBytes: number): LazyLayer {
  return new TocParser(tocOffsetBytes).parse(parseEntries(json), format);
}

function* parseEntries(json: Uint8Array): Generator<TocFields, void> {
  if (json.length > tocBytesMax) throw tocTooLarge(`${json.length} bytes`);
  let index = 0;
  try {
    const { rest, elements } = jsonEntries(json);
    const toc = rest as { readonly version?: unknown; readonly entries?: unknown } | null;
    if (typeof toc !== "object" || toc?.version !== 1) throw tocError("it has no version 1");
    // Go writes null for no entries.
    const left = toc.entries ?? [];
    // Whatever is left of them was somewhere else than the others.
    if (!Array.isArray(left) || left.length > 0) throw tocError("it has no entries");
    for (const element of elements()) yield new TocFields(element, index++);
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw tocError(describeError(error), { cause: error });
  }
}

/** How much of the blob it takes is known only when all entries are. */
type OpenSource = { -readonly [Key in keyof LazySource]: LazySource[Key] };

class TocParser {
  readonly #tocOffset: number;
  /** Where content begins in the blob, of all rows. */
  readonly #offsets: number[] = [];
  readonly #sources: { readonly source: OpenSource; sizeBytes: number; endBytes: number }[] = [];
  #prefetch: LazyPrefetch = { kind: "unknown" };

  constructor(tocOffset: number) {
    this.#tocOffset = tocOffset;
  }

  parse(rows: Iterable<TocFields>, format: LazyFormat): LazyLayer {
    const entries: LazyEntry[] = [];
    let group: TocFields[] = [];
    const take = () => {
      const entry = group[0] && this.#entry(group[0], group);
      if (entry !== undefined && !this.#isSpecial(entry)) entries.push(entry);
    };
    for (const row of rows) {
      this.#offsets.push(this.#offsetOf(row));
      if (row.text("type") !== "chunk") {
        take();
        group = [];
      }
      group.push(row);
    }
    take();
    this.#closeSources();
    return { format, entries, prefetch: this.#prefetch };
  }

  #closeSources(): void {
    const ranges = new ChunkRanges(this.#offsets, this.#tocOffset);
    for (const { source, sizeBytes, endBytes } of this.#sources) {
      const neededBytes = source.innerOffsetBytes + sizeBytes;
      const { blobOffsetBytes } = source;
      source.compressedBytes = ranges.compressedBytes(blobOffsetBytes, neededBytes, endBytes);
    }
  }

  /** Files that are there for the format's sake are no files of the layer. */
  #isSpecial({ type, name, chunks }: LazyEntry): boolean {
    const special = type === "file" ? specialFile(name) : undefined;
    if (special === "no prefetch") this.#prefetch = { kind: "nothing" };
    if (special === "prefetch") {
      const endBytes = chunks[0]?.source?.blobOffsetBytes;
      if (endBytes === undefined) throw tocError("its landmark has no place");
      this.#prefetch = { kind: "range", endBytes };
    }
    return special !== undefined;
  }

  /** @param rows the row of the entry, and those of its other chunks */
  #entry(row: TocFields, rows: readonly TocFields[]): LazyEntry {
    const kind = types[row.text("type")];
    if (kind === undefined) throw row.error(`has the unknown type "${row.text("type")}"`);
    const sizeBytes = row.size("size");
    const isFile = kind.type === "file";
    if (!isFile && rows.length > 1) throw row.error("has chunks, but is no file");
    const name = row.path("name");
    if (name === "") throw row.error("has no name");
    const mtime = row.time("modtime");
    return {
      ...kind,
      offset: row.index,
      name,
      linkName: row.path("linkName"),
      sizeBytes: isFile ? sizeBytes : 0,
      mode: row.integer("mode"),
      uid: row.integer("uid"),
      gid: row.integer("gid"),
      mtimeSeconds: mtime.seconds,
      mtimeNanoseconds: mtime.nanoseconds,
      deviceMajor: row.integer("devMajor"),
      deviceMinor: row.integer("devMinor"),
      xattrs: row.xattrs(),
      chunks: isFile ? this.#chunks(row, rows, sizeBytes) : noChunks,
      sha256: isFile && rows.length > 1 ? row.sha256("digest") : undefined,
    };
  }

  #chunks(file: TocFields, rows: readonly TocFields[], sizeBytes: number): readonly LazyChunk[] {
    if (sizeBytes === 0) {
      if (rows.length > 1) throw file.error("is empty, but has chunks");
      return noChunks;
    }
    const name = file.text("name");
    const endBytes = file.size("endOffset");
    if (endBytes > this.#tocOffset) throw file.error(`ends at byte ${endBytes} of the blob`);
    let position = 0;
    const chunks = rows.map((row) => {
      if (row.text("name") !== name) throw row.error("is a chunk of another file");
      const chunkOffset = row.size("chunkOffset");
      if (chunkOffset !== position)
        throw row.error(`is a chunk at ${chunkOffset}, not ${position}`);
      const chunk = this.#chunk(row, position, sizeBytes, endBytes);
      position += chunk.sizeBytes;
      return chunk;
    });
    if (position !== sizeBytes)
      throw file.error(`has chunks for ${position} of ${sizeBytes} bytes`);
    return chunks;
  }

  #chunk(row: TocFields, position: number, fileBytes: number, endBytes: number): LazyChunk {
    const sizeBytes = row.size("chunkSize") || fileBytes - position;
    if (sizeBytes <= 0 || position + sizeBytes > fileBytes) {
      throw row.error(`is a chunk of ${sizeBytes} bytes in a file of ${fileBytes}`);
    }
    if (sizeBytes > lazyChunkBytesMax) throw tocTooLarge(`a chunk of ${sizeBytes} bytes`);
    const chunkType = row.text("chunkType");
    if (chunkType === "zeros") return { fileOffsetBytes: position, sizeBytes, source: undefined };
    if (chunkType !== "") throw row.error(`has a chunk of the unknown type "${chunkType}"`);
    const ownDigest = row.sha256("chunkDigest");
    const sha256 = ownDigest ?? (sizeBytes === fileBytes ? row.sha256("digest") : undefined);
    if (sha256 === undefined) throw row.error("has content without a digest");
    const source = { sha256, ...this.#place(row), compressedBytes: 0 };
    this.#sources.push({ source, sizeBytes, endBytes });
    return { fileOffsetBytes: position, sizeBytes, source };
  }

  #place(row: TocFields): Pick<LazySource, "blobOffsetBytes" | "innerOffsetBytes"> {
    const blobOffsetBytes = this.#offsetOf(row);
    const innerOffsetBytes = row.size("innerOffset");
    // A member or frame with the header of the first file comes before all content.
    if (blobOffsetBytes === 0) throw row.error("has content, but no place in the blob");
    if (innerOffsetBytes > innerOffsetBytesMax) throw tocTooLarge("a chunk that far into a member");
    return { blobOffsetBytes, innerOffsetBytes };
  }

  #offsetOf(row: TocFields): number {
    const offset = row.size("offset");
    if (offset >= this.#tocOffset && offset > 0) {
      throw row.error(`lies at byte ${offset}, behind the content of the blob`);
    }
    return offset;
  }
}
