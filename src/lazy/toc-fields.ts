/**
 * One object of a table of contents, field by field; nothing in it is believed to have a type.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import type { TarXattr } from "../tar/entry.ts";
import type { PaxTime } from "../tar/pax.ts";
import { byteStringOfText, type ByteString, isPrintableAscii } from "../util/byte-string.ts";
import { tocBytesMax, tocPathBytesMax } from "./limits.ts";
import { parseTocTime } from "./toc-time.ts";

export function tocError(problem: string, options: { readonly cause?: unknown } = {}): AppError {
  return new AppError("data_loss", `Cannot read the table of contents: ${problem}`, options);
}

/** Beyond the limits (limits.ts); the layer is pulled as an ordinary one then. */
export function tocTooLarge(size: string): AppError {
  return new AppError("resource_exhausted", `A table of contents of ${size} is too large`);
}

/** Runs a decoder of node:zlib that ends at `tocBytesMax`. */
export function decodeToc(decode: () => Buffer): Buffer {
  try {
    return decode();
  } catch (error) {
    const isTooLarge =
      error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE";
    if (isTooLarge) throw tocTooLarge(`more than ${tocBytesMax} bytes`);
    throw tocError(describeError(error), { cause: error });
  }
}

const sha256Pattern = /^sha256:([0-9a-f]{64})$/;
const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** What Go's encoder puts where a name is no UTF-8: what the name was is lost. */
const replacement = "\ufffd";
const noXattrs: readonly TarXattr[] = [];

/** Whether the bytes it was made of can be told. */
function isDecodable(name: string): boolean {
  if (isPrintableAscii(name)) return true;
  return !name.includes("\0") && !name.includes(replacement) && name.isWellFormed();
}

export class TocFields {
  readonly index: number;
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(value: unknown, index: number) {
    this.index = index;
    if (typeof value !== "object" || value === null) throw this.error("is no object");
    this.#fields = value as Readonly<Record<string, unknown>>;
  }

  error(problem: string): AppError {
    return tocError(`entry ${this.index} ${problem}`);
  }

  /** Empty where it is missing. */
  text(key: string): string {
    const value = this.#fields[key] ?? "";
    if (typeof value !== "string") throw this.error(`has a ${key} that is no text`);
    return value;
  }

  /** 0 where it is missing. */
  integer(key: string): number {
    const value = this.#fields[key] ?? 0;
    if (typeof value === "number" && Number.isSafeInteger(value)) return value;
    throw this.error(`has a ${key} that is no whole number`);
  }

  /** A size or offset. */
  size(key: string): number {
    const value = this.integer(key);
    if (value < 0) throw this.error(`has a ${key} of ${value}`);
    return value;
  }

  /** A path, as it stands there. */
  path(key: string): ByteString {
    const text = this.text(key);
    if (!isDecodable(text)) {
      throw this.error(`has a ${key} with a NUL byte, or one that was no UTF-8`);
    }
    const path = byteStringOfText(text);
    if (path.length > tocPathBytesMax) throw this.error(`has a ${key} of ${path.length} bytes`);
    return path;
  }

  /** Undefined where it is missing. */
  sha256(key: string): Buffer | undefined {
    const text = this.text(key);
    if (text === "") return undefined;
    const hex = sha256Pattern.exec(text)?.[1];
    if (hex === undefined) throw this.error(`has a ${key} that is no SHA-256`);
    return Buffer.from(hex, "hex");
  }

  time(key: string): PaxTime {
    const time = parseTocTime(this.text(key));
    if (time === undefined) throw this.error(`has a ${key} that is no time`);
    return time;
  }

  xattrs(): readonly TarXattr[] {
    const value = this.#fields["xattrs"] ?? undefined;
    if (value === undefined) return noXattrs;
    if (typeof value !== "object" || Array.isArray(value)) throw this.error("has odd xattrs");
    return Object.entries(value as Record<string, unknown>).map(([name, encoded]) => {
      const text = encoded ?? "";
      if (
        !isDecodable(name) ||
        name === "" ||
        typeof text !== "string" ||
        !base64Pattern.test(text)
      ) {
        throw this.error("has an extended attribute that is none");
      }
      return { name: byteStringOfText(name), value: Buffer.from(text, "base64") };
    });
  }
}
