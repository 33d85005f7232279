/**
 * What the runtime's fetch throws, as errors of a registry.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import { RegistryError, type Subject } from "./registry-error.ts";

/** As BoringSSL and the runtime call what is wrong with a certificate. */
const certificateCodes =
  /CERT|VERIFY_LEAF|ISSUER|SELF_SIGNED|CRL|HOSTNAME_MISMATCH|INVALID_CA|PATH_LENGTH|UNTRUSTED/;

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : "";
}

/** EPROTO: what came is no TLS. A proxy in front of such a server may reset the connection. */
const tlsFailures = new Set(["EPROTO", "ECONNRESET"]);

/** Whether the server perhaps does not speak TLS at all. */
export function isTlsFailure(error: unknown): boolean {
  return [error, (error as Error | undefined)?.cause].some((each) => tlsFailures.has(codeOf(each)));
}

/** @param signal the one that was given to fetch: what it was aborted with is the reason */
export function fetchError(error: unknown, subject: Subject, signal: AbortSignal): AppError {
  if (error instanceof AppError) return error;
  if (signal.aborted) {
    const { reason } = signal as { reason: unknown };
    if (reason instanceof AppError) return reason;
    return new RegistryError("cancelled", subject, "the call was cancelled", { cause: error });
  }
  const code = codeOf(error);
  if (certificateCodes.test(code)) {
    return new RegistryError(
      "failed_precondition",
      subject,
      `its certificate is refused: ${code}`,
      {
        cause: error,
        remedy: "name the authority that signed it as `ca` in the hosts.toml of the registry",
      },
    );
  }
  const problem = `the connection failed: ${code === "" ? describeError(error) : code}`;
  return new RegistryError("unavailable", subject, problem, {
    cause: error,
    remedy: "check the registry, the network and the mirrors in hosts.toml",
  });
}
