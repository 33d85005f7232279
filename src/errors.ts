/**
 * The failures a caller can meet, as a closed set of classes.
 *
 * The classes are containerd's (`errdefs`), because gRPC clients of ours branch on them. They are
 * mapped to gRPC codes in `rpc/status.ts` and to HTTP statuses in `http/errors.ts`, nowhere else.
 * A broken program is not in here: it throws `AssertionError` and becomes `internal`.
 *
 * @module
 */

export type ErrorCode =
  | "invalid_argument"
  | "not_found"
  | "already_exists"
  | "failed_precondition"
  | "unavailable"
  | "data_loss"
  | "resource_exhausted"
  | "permission_denied"
  | "unimplemented"
  | "cancelled"
  | "internal";

export interface AppErrorOptions {
  readonly cause?: unknown;
  /** What an operator can do about it; printed by the CLI and the log, not part of the message. */
  readonly remedy?: string;
}

/** An error somebody handles: its class, what failed and on which thing. */
export class AppError extends Error {
  override readonly name: string = "AppError";
  readonly code: ErrorCode;
  readonly remedy: string | undefined;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.remedy = options.remedy;
  }
}

/** A structure on disk or on the wire that does not parse; names the structure and where. */
export class FormatError extends AppError {
  override readonly name = "FormatError";
  readonly structure: string;
  readonly offset: number;

  constructor(structure: string, offset: number, problem: string, options: AppErrorOptions = {}) {
    super("data_loss", `Cannot read ${structure} at byte ${offset}: ${problem}`, options);
    this.structure = structure;
    this.offset = offset;
  }
}

/** The message of anything thrown, with the chain of its causes. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : `: ${describeError(error.cause)}`;
  return `${error.message}${cause}`;
}
