/**
 * tar-split data (github.com/vbatts/tar-split, tar/storage/entry.go): all of a tar but the content
 * of its files, from which podman makes the same tar again of the files it has unpacked.
 *
 * Lines of JSON: segments of raw bytes (type 2) and, between them, files (type 1) with the size and
 * the CRC of their content. Compressed in several frames, for there is nearly a kilobyte per file.
 *
 * @module
 */
import { AppError } from "../../errors.ts";
import { displayName } from "../../util/byte-string.ts";
import type { TarEntry } from "../../tar/entry.ts";
import { MiB } from "../../util/bytes.ts";
import { tocBytesMax } from "../limits.ts";
import { Crc64 } from "./crc64.ts";

const frameBytes = 4 * MiB;

interface File {
  readonly name: string;
  readonly sizeBytes: number;
  readonly crc: Crc64;
}

export interface TarSplit {
  readonly bytes: Buffer;
  readonly uncompressedBytes: number;
}

export class TarSplitBuilder {
  readonly #compress: (content: Uint8Array) => Promise<Uint8Array>;
  readonly #frames: Promise<Uint8Array>[] = [];
  #lines: string[] = [];
  #linesLength = 0;
  #uncompressedBytes = 0;
  #compressedBytes = 0;
  #position = 0;
  #file: File | undefined;

  constructor(compress: (content: Uint8Array) => Promise<Uint8Array>) {
    this.#compress = compress;
  }

  addEntry(entry: TarEntry): void {
    this.#endFile();
    const name = displayName(entry.name);
    this.#file = { name, sizeBytes: entry.sizeBytes, crc: new Crc64() };
  }

  addContent(bytes: Uint8Array): void {
    this.#file?.crc.update(bytes);
  }

  addRaw(bytes: Buffer): void {
    this.#endFile();
    this.#add({ type: 2, payload: bytes.toString("base64"), position: this.#position });
  }

  async finish(): Promise<TarSplit> {
    this.#endFile();
    this.#endFrame();
    const bytes = Buffer.concat(await Promise.all(this.#frames));
    return { bytes, uncompressedBytes: this.#uncompressedBytes };
  }

  #endFile(): void {
    if (this.#file === undefined) return;
    const { name, sizeBytes, crc } = this.#file;
    this.#file = undefined;
    const isEmpty = sizeBytes === 0;
    this.#add({
      type: 1,
      name,
      size: isEmpty ? undefined : sizeBytes,
      payload: isEmpty ? null : crc.digest().toString("base64"),
      position: this.#position,
    });
  }

  #add(line: object): void {
    const text = `${JSON.stringify(line)}\n`;
    this.#position += 1;
    this.#lines.push(text);
    this.#linesLength += text.length;
    if (this.#linesLength >= frameBytes) this.#endFrame();
  }

  async #compressed(content: Uint8Array): Promise<Uint8Array> {
    const frame = await this.#compress(content);
    this.#compressedBytes += frame.length;
    return frame;
  }

  #endFrame(): void {
    const bytes = Buffer.from(this.#lines.join(""));
    this.#lines = [];
    this.#linesLength = 0;
    this.#uncompressedBytes += bytes.length;
    if (this.#compressedBytes > tocBytesMax) {
      const problem = `its tar-split data would have more than ${tocBytesMax} bytes`;
      throw new AppError("unimplemented", problem);
    }
    this.#frames.push(this.#compressed(bytes));
  }
}
