/**
 * The rows of a table of contents as they are written: an entry's first, then one for each of its
 * other chunks.
 *
 * @module
 */
import type { TarEntry } from "../../tar/entry.ts";
import { displayName } from "../../util/byte-string.ts";
import { sha256Digest } from "../../util/digest.ts";
import { formatTocTime } from "../toc-time.ts";
import type { LazyFormat } from "../model.ts";
import type { ExtraTimes } from "./extra-times.ts";

/** Names of the fields as in estargz/types.go; undefined ones are not written. */
export interface TocRow {
  readonly type: string;
  readonly name: string;
  readonly linkName?: string | undefined;
  readonly mode?: number | undefined;
  size?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly modtime?: string | undefined;
  readonly accesstime?: string | undefined;
  readonly changetime?: string | undefined;
  readonly devMajor?: number | undefined;
  readonly devMinor?: number | undefined;
  readonly xattrs?: Readonly<Record<string, string>> | undefined;
  digest?: string | undefined;
  offset?: number | undefined;
  endOffset?: number | undefined;
  chunkSize?: number | undefined;
  readonly chunkOffset?: number | undefined;
  chunkDigest?: string | undefined;
}

const typeNames: Readonly<Partial<Record<TarEntry["type"], string>>> = {
  file: "reg",
  "hard link": "hardlink",
  symlink: "symlink",
  "character device": "char",
  "block device": "block",
  directory: "dir",
  fifo: "fifo",
};

/** What Go leaves out of JSON: zeros and what is empty. */
function unlessZero(number: number): number | undefined {
  return number === 0 ? undefined : number;
}

/**
 * The row of an entry, its content left out; undefined for what no table lists: global records.
 *
 * @param format containers/storage compares all that a header says, whatever the type
 */
export function entryRow(
  entry: TarEntry,
  times: ExtraTimes,
  format: LazyFormat,
): TocRow | undefined {
  const type = typeNames[entry.type];
  if (type === undefined) return undefined;
  const isZstd = format === "zstd-chunked";
  const time = { seconds: entry.mtimeSeconds, nanoseconds: entry.mtimeNanoseconds };
  const isEpoch = time.seconds === 0 && time.nanoseconds === 0;
  const extra = (value: ExtraTimes["access"]) =>
    isZstd && value !== undefined ? formatTocTime(value) : undefined;
  return {
    type,
    name: displayName(entry.name),
    linkName: displayName(entry.linkName) || undefined,
    mode: unlessZero(entry.mode),
    size: isZstd || type === "reg" ? unlessZero(entry.sizeBytes) : undefined,
    uid: unlessZero(entry.uid),
    gid: unlessZero(entry.gid),
    modtime: isEpoch ? undefined : formatTocTime(time),
    accesstime: extra(times.access),
    changetime: extra(times.change),
    devMajor: unlessZero(entry.deviceMajor),
    devMinor: unlessZero(entry.deviceMinor),
    xattrs: entry.xattrs.length === 0 ? undefined : xattrsOf(entry),
  };
}

function xattrsOf({ xattrs }: TarEntry): Record<string, string> {
  return Object.fromEntries(
    xattrs.map(({ name, value }) => [displayName(name), Buffer.from(value).toString("base64")]),
  );
}

/** The rows of one file, made while its content goes by. */
export class ContentRows {
  readonly rows: TocRow[];
  readonly #file: TocRow;
  readonly #format: LazyFormat;
  /** Of all of it; a file of one chunk has the digest of that. */
  readonly #hasher: Bun.CryptoHasher | undefined;

  constructor(file: TocRow, chunks: number, format: LazyFormat) {
    this.#file = file;
    this.#format = format;
    this.#hasher = chunks > 1 ? new Bun.CryptoHasher("sha256") : undefined;
    this.rows = [file];
  }

  /** The row of the next chunk. */
  add(bytes: Uint8Array, offsetBytes: number): TocRow {
    const digest = sha256Digest(bytes);
    if (this.#hasher === undefined) {
      this.#file.digest = digest;
      // The reference reader of eStargz wants it of every chunk, podman of several only.
      if (this.#format === "estargz") this.#file.chunkDigest = digest;
      return this.#file;
    }
    this.#hasher.update(bytes);
    const row: TocRow =
      offsetBytes === 0
        ? this.#file
        : { type: "chunk", name: this.#file.name, chunkOffset: offsetBytes };
    if (offsetBytes > 0) this.rows.push(row);
    row.chunkSize = bytes.length;
    row.chunkDigest = digest;
    return row;
  }

  /** After the last chunk. */
  finish(): void {
    if (this.#hasher !== undefined) this.#file.digest = `sha256:${this.#hasher.digest("hex")}`;
  }
}
