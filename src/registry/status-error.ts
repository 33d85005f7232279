/**
 * The errors that stand behind HTTP statuses.
 *
 * @module
 */
import type { ErrorCode } from "../errors.ts";
import { RegistryError, type Subject } from "./registry-error.ts";

/** 408 and 425 are of RFC 9110 and 8470, 429 of RFC 6585; 5xx are the server's. */
function codeOfStatus(status: number): ErrorCode {
  if (status === 401 || status === 403 || status === 407) return "permission_denied";
  if (status === 404 || status === 410) return "not_found";
  if (status === 405 || status === 501) return "unimplemented";
  if (status === 408 || status === 425 || status === 429 || status >= 500) return "unavailable";
  if (status === 416) return "data_loss";
  return "failed_precondition";
}

const remedies: Partial<Record<ErrorCode, string>> = {
  permission_denied:
    "log in to the registry (docker login), or correct the credential helper in config.json",
  not_found: "check the name of the image and whether it was removed from the registry",
  unavailable: "check the registry and the network; it is tried again when it is needed again",
};

const messageLengthMax = 300;
const diagnosticsMax = 3;

/** The first diagnostics of an error's body (distribution-spec, "Error Codes"), or nothing. */
export function readDiagnostics(body: string): string {
  let errors: unknown;
  try {
    errors = (JSON.parse(body) as { errors?: unknown } | null)?.errors;
  } catch {
    return "";
  }
  if (!Array.isArray(errors)) return "";
  const texts = (errors as ({ code?: unknown; message?: unknown } | null)[])
    .slice(0, diagnosticsMax)
    .map((error) => [error?.code, error?.message].filter((part) => typeof part === "string"));
  const text = texts.map((parts) => parts.join(" ")).join("; ");
  return printable(text.slice(0, messageLengthMax));
}

/** What a server says goes to logs and terminals: no control characters. */
function printable(text: string): string {
  return text.replaceAll(/\p{C}/gu, "�");
}

/**
 * How long `Retry-After` asks to wait: seconds, or a date by the server's own clock.
 * Undefined where it says neither (RFC 9110, section 10.2.3).
 */
export function readRetryAfter(headers: Headers): number | undefined {
  const text = headers.get("retry-after")?.trim() ?? "";
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  if (!/^[A-Z][a-z]{2}, /.test(text)) return undefined;
  const delayMs = Date.parse(text) - Date.parse(headers.get("date") ?? "");
  return Number.isNaN(delayMs) ? undefined : Math.max(0, delayMs);
}

/** @param body the beginning of the error's body */
export function statusError(
  subject: Subject,
  status: number,
  headers: Headers,
  body: string,
): RegistryError {
  const code = codeOfStatus(status);
  const diagnostics = readDiagnostics(body);
  const problem = `answered ${status}${diagnostics === "" ? "" : ` (${diagnostics})`}`;
  const remedy = remedies[code];
  const retryAfterMs = readRetryAfter(headers);
  return new RegistryError(code, subject, problem, {
    status,
    ...(remedy === undefined ? {} : { remedy }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}
