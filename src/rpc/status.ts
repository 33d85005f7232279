/**
 * The one table from our classes of errors to gRPC's codes.
 *
 * containerd turns a code back into a Go error and cuts the class's text from the end of the
 * message if it is there (errdefs, `rebaseMessage`); so each message ends in that text, and a
 * client sees it once.
 *
 * @module
 */
import { status } from "@grpc/grpc-js";
import { AppError, describeError, type ErrorCode } from "../errors.ts";

interface StatusClass {
  readonly code: status;
  /** As containerd's errdefs and Go's context spell it. */
  readonly text: string;
}

const statusClasses: Readonly<Record<ErrorCode, StatusClass>> = {
  invalid_argument: { code: status.INVALID_ARGUMENT, text: "invalid argument" },
  not_found: { code: status.NOT_FOUND, text: "not found" },
  already_exists: { code: status.ALREADY_EXISTS, text: "already exists" },
  failed_precondition: { code: status.FAILED_PRECONDITION, text: "failed precondition" },
  unavailable: { code: status.UNAVAILABLE, text: "unavailable" },
  data_loss: { code: status.DATA_LOSS, text: "data loss" },
  resource_exhausted: { code: status.RESOURCE_EXHAUSTED, text: "resource exhausted" },
  permission_denied: { code: status.PERMISSION_DENIED, text: "permission denied" },
  unimplemented: { code: status.UNIMPLEMENTED, text: "not implemented" },
  cancelled: { code: status.CANCELLED, text: "context canceled" },
  internal: { code: status.INTERNAL, text: "internal" },
};

/** A message travels in an HTTP/2 header, percent-encoded; peers limit the size of headers. */
const messageLengthMax = 2048;

export interface RpcStatus {
  readonly code: status;
  readonly details: string;
}

/** What the client gets to see of anything thrown: never a stack. */
export function statusOf(error: unknown): RpcStatus {
  const { code, text } = statusClasses[error instanceof AppError ? error.code : "internal"];
  const message = describeError(error);
  const shown =
    message.length > messageLengthMax ? `${message.slice(0, messageLengthMax)}…` : message;
  return { code, details: shown.endsWith(text) ? shown : `${shown}: ${text}` };
}
