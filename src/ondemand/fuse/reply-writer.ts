/**
 * Sends replies, from a buffer that is used again and again.
 *
 * @module
 */
import { errnoNumber, SyscallError } from "../../../ffi/errno.ts";
import { readAt } from "../../../ffi/file.ts";
import { writeReply } from "../../../ffi/fuse.ts";
import { zeroed } from "../../../ffi/memory.ts";
import { readBytesMax } from "./handshake.ts";
import { writeOutHeader } from "./replies.ts";
import { outHeader } from "./protocol.ts";

/** All methods tell whether the kernel still waited for the reply. */
export class ReplyWriter {
  readonly #channel: number;
  readonly #bytes = zeroed(outHeader.sizeBytes + readBytesMax);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #payload = this.#bytes.subarray(outHeader.sizeBytes);

  constructor(channel: number) {
    this.#channel = channel;
  }

  send(unique: bigint, payload: Uint8Array): boolean {
    this.#payload.set(payload);
    return this.#write(unique, 0, payload.length);
  }

  fail(unique: bigint, errno: number): boolean {
    return this.#write(unique, errno, 0);
  }

  /** Content of a file; an error of input and output where not all of it can be read. */
  sendContent(unique: bigint, file: number, offsetBytes: number, lengthBytes: number): boolean {
    if (!this.#isFilled(file, offsetBytes, lengthBytes)) {
      return this.fail(unique, errnoNumber.inputOutput);
    }
    return this.#write(unique, 0, lengthBytes);
  }

  #isFilled(file: number, offsetBytes: number, lengthBytes: number): boolean {
    try {
      return readAt(file, this.#payload, lengthBytes, offsetBytes) === lengthBytes;
    } catch (error) {
      if (error instanceof SyscallError) return false;
      throw error;
    }
  }

  #write(unique: bigint, errno: number, payloadBytes: number): boolean {
    const lengthBytes = writeOutHeader(this.#view, unique, errno, payloadBytes);
    return writeReply(this.#channel, this.#bytes, lengthBytes);
  }
}
