/**
 * Reads the bytes of a blob, once and in order, and finds out whether they are the right ones.
 *
 * From the file of containerd's content store where it can be opened; otherwise containerd is asked
 * for them. A few pieces are on the way at a time, so that reading overlaps with what is done with
 * them.
 *
 * @module
 */
import { readSync } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { AppError } from "../errors.ts";
import { KiB, MiB } from "../util/bytes.ts";
import { downloadEnded, GrowingFile, type GrowthLimits } from "./growing-file.ts";

/** Stays in the cache of a core until it is hashed and decompressed. */
const filePieceBytes = 128 * KiB;
/** As containerd sends them; each is a call of its own. */
const remotePieceBytes = MiB;

/** A blob, as it goes to a worker thread. */
export interface BlobSource {
  readonly digest: string;
  readonly sizeBytes: number;
  readonly file: string;
  /** Where it grows while containerd downloads it, before it becomes `file`. */
  readonly download?: Download;
}

export interface Download extends GrowthLimits {
  readonly file: string;
}

export type ReadElsewhere = (offsetBytes: number, lengthBytes: number) => Promise<Uint8Array>;

/** Errors of open(2) after which the blob may still be had from containerd. */
const noFileCodes: ReadonlySet<unknown> = new Set(["ENOENT", "ENOTDIR", "EACCES", "EPERM"]);

export class BlobBytes implements AsyncDisposable {
  readonly #blob: BlobSource;
  readonly #file: FileHandle | undefined;
  readonly #read: ReadElsewhere;
  readonly #growth: GrowingFile | undefined;
  readonly #hasher: Bun.CryptoHasher;
  readonly #pieces: AsyncGenerator<Uint8Array, void>;

  private constructor(
    blob: BlobSource,
    file: FileHandle | undefined,
    elsewhere: ReadElsewhere,
    growth?: GrowingFile,
  ) {
    this.#blob = blob;
    this.#file = file;
    this.#growth = growth;
    this.#read = file === undefined ? elsewhere : readInto(file, new Uint8Array(filePieceBytes));
    this.#hasher = new Bun.CryptoHasher(blob.digest.startsWith("sha512:") ? "sha512" : "sha256");
    this.#pieces = this.#readAll();
  }

  /**
   * Rejects with `data_loss` where there is a file of another size than the blob's, with
   * `cancelled` where there is nothing of a download.
   */
  static async open(blob: BlobSource, elsewhere: ReadElsewhere): Promise<BlobBytes> {
    const { download } = blob;
    const growing = download && (await openFile(download.file));
    if (download !== undefined && growing !== undefined) {
      return new BlobBytes(blob, growing, elsewhere, new GrowingFile(growing.fd, download));
    }
    const file = await openFile(blob.file);
    if (file === undefined && download !== undefined) throw downloadEnded("was given up");
    if (file === undefined) return new BlobBytes(blob, undefined, elsewhere);
    const { size } = await file.stat();
    if (size === blob.sizeBytes) return new BlobBytes(blob, file, elsewhere);
    await file.close();
    throw damaged(blob, `has ${size} bytes, not ${blob.sizeBytes}`);
  }

  /**
   * The same at each call: who stops early lets the next go on. A piece stays as it is until the
   * next one is asked for.
   */
  pieces(): AsyncIterable<Uint8Array> {
    const next = () => this.#pieces.next();
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  /** Reads what nobody has read yet; rejects with `data_loss` if the digest is another one. */
  async verify(): Promise<void> {
    for await (const _ of this.pieces());
    const algorithm = this.#hasher.algorithm;
    const found = `${algorithm}:${this.#hasher.digest("hex")}`;
    if (found !== this.#blob.digest) throw damaged(this.#blob, `has the digest ${found}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.close();
  }

  async *#readAll(): AsyncGenerator<Uint8Array, void> {
    const { sizeBytes } = this.#blob;
    const pieceBytes = this.#file === undefined ? remotePieceBytes : filePieceBytes;
    for (let at = 0; at < sizeBytes; at += pieceBytes) {
      const length = Math.min(pieceBytes, sizeBytes - at);
      await this.#growth?.reach(at + length);
      const piece = await this.#read(at, length);
      if (piece.length !== length) throw damaged(this.#blob, `ends before byte ${at + length}`);
      this.#hasher.update(piece);
      yield piece;
    }
  }
}

async function openFile(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (noFileCodes.has((error as NodeJS.ErrnoException).code)) return undefined;
    throw new AppError("internal", `Cannot open blob "${path}"`, { cause: error });
  }
}

/**
 * At once, in the thread that calls: asynchronous reads wait behind all that is being compressed,
 * which uses the same threads of the runtime.
 */
function readInto(file: FileHandle, buffer: Uint8Array): ReadElsewhere {
  return (at, length) => {
    let filled = 0;
    while (filled < length) {
      const count = readSync(file.fd, buffer, filled, length - filled, at + filled);
      if (count === 0) break;
      filled += count;
    }
    return Promise.resolve(buffer.subarray(0, filled));
  };
}

function damaged({ digest }: BlobSource, problem: string): AppError {
  return new AppError("data_loss", `Blob "${digest}" ${problem}`, {
    remedy: "remove the image and pull it again, so that containerd fetches the blob anew",
  });
}
