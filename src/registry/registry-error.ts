/**
 * What went wrong with a registry: the host, the image, and whether asking again may help.
 *
 * @module
 */
import { AppError, describeError, type AppErrorOptions, type ErrorCode } from "../errors.ts";

/** What a request is about, for messages. */
export interface Subject {
  /** The server, `host[:port]`. */
  readonly host: string;
  /** The image as a user would write it, or its repository with a blob's digest. */
  readonly reference: string;
}

export interface RegistryErrorOptions extends AppErrorOptions {
  /** The HTTP status, where there was an answer. */
  readonly status?: number;
  /** How long the server wants to be left alone. */
  readonly retryAfterMs?: number;
}

export class RegistryError extends AppError {
  override readonly name = "RegistryError";
  readonly host: string;
  readonly reference: string;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  /** The message without host and reference. */
  readonly problem: string;

  constructor(
    code: ErrorCode,
    subject: Subject,
    problem: string,
    options: RegistryErrorOptions = {},
  ) {
    super(code, `Registry ${subject.host}, ${subject.reference}: ${problem}`, options);
    this.host = subject.host;
    this.reference = subject.reference;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
    this.problem = problem;
  }

  /** The same error with more to say. */
  extended(text: string): RegistryError {
    const { code, status, retryAfterMs, remedy, cause } = this;
    return new RegistryError(code, this, this.problem + text, {
      cause,
      ...(status === undefined ? {} : { status }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(remedy === undefined ? {} : { remedy }),
    });
  }

  /** Whether the same request to the same host may succeed later. */
  get isTransient(): boolean {
    return this.code === "unavailable";
  }
}

/** Whatever was thrown, as a RegistryError. */
export function toRegistryError(error: unknown, subject: Subject): RegistryError {
  if (error instanceof RegistryError) return error;
  if (error instanceof AppError) {
    const { code, remedy } = error;
    const options = { cause: error.cause, ...(remedy === undefined ? {} : { remedy }) };
    return new RegistryError(code, subject, error.message, options);
  }
  return new RegistryError("internal", subject, describeError(error), { cause: error });
}

/** A URL without what may be secret: signatures of storage services are in the query. */
export function redactUrl(url: URL): string {
  return `${url.origin}${url.pathname}${url.search === "" ? "" : "?…"}`;
}
