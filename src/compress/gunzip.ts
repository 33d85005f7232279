/**
 * Decompresses gzip (RFC 1952) at once, in the thread that calls, into memory that is there.
 *
 * By the handle inside `zlib.Gunzip`: what the runtime offers openly either has a thread of its own
 * and allocates each piece (DecompressionStream, zlib's streams), or stops after one member and
 * wants all at once (gunzipSync). The handle takes any memory, shared memory too, and goes on with
 * the next member by itself. It is used as Node.js does it in `processChunkSync` of lib/zlib.js;
 * a runtime without it fails the tests.
 *
 * @module
 */
import { constants, createGunzip } from "node:zlib";
import { AppError } from "../errors.ts";

interface ZlibHandle {
  /** It calls `onerror`, which is ours, with what is wrong. */
  writeSync(
    flush: number,
    input: Uint8Array,
    inputOffset: number,
    inputBytes: number,
    output: Uint8Array,
    outputOffset: number,
    outputBytes: number,
  ): void;
  close(): void;
}

interface GunzipInternals {
  readonly _handle: ZlibHandle;
  /** What the last call has left of output and input. */
  readonly _writeState: Uint32Array;
}

const nothing = new Uint8Array(0);

export class Gunzip implements Disposable {
  readonly #handle: ZlibHandle;
  readonly #left: Uint32Array;
  #input: Uint8Array = nothing;
  #at = 0;
  #failure: string | undefined;

  constructor() {
    const { _handle, _writeState } = createGunzip() as unknown as GunzipInternals;
    this.#handle = _handle;
    this.#left = _writeState;
    Object.assign(this.#handle, { onerror: (message: string) => (this.#failure = message) });
  }

  /** What comes next, when all before was read; it must stay as it is until it was read, too. */
  feed(input: Uint8Array): void {
    this.#input = input;
    this.#at = 0;
  }

  /**
   * Writes to `target` from `start` on; the number of bytes, 0 where there must be more input.
   * Throws `data_loss` for what is no gzip.
   */
  read(target: Uint8Array, start: number): number {
    const inputLeft = this.#write(constants.Z_NO_FLUSH, target, start);
    const [outputLeft = 0] = this.#left;
    const count = target.length - start - outputLeft;
    // zlib goes on with whatever follows a member, but for zeros: there it stops without a word.
    if (count === 0 && inputLeft > 0) throw malformed("zeros follow its end");
    return count;
  }

  /** To be called when all was fed and read; throws `data_loss` if it is cut off. */
  finish(): void {
    this.#write(constants.Z_FINISH, new Uint8Array(1), 0);
  }

  [Symbol.dispose](): void {
    this.#handle.close();
  }

  /** The number of bytes that are left of the input. */
  #write(flush: number, target: Uint8Array, start: number): number {
    const inputBytes = this.#input.length - this.#at;
    const room = target.length - start;
    this.#handle.writeSync(flush, this.#input, this.#at, inputBytes, target, start, room);
    if (this.#failure !== undefined) throw malformed(this.#failure);
    const [, inputLeft = 0] = this.#left;
    this.#at = this.#input.length - inputLeft;
    return inputLeft;
  }
}

function malformed(problem: string): AppError {
  return new AppError("data_loss", `Cannot decompress gzip: ${problem}`);
}
