/**
 * Parts of blobs: what was asked for, what a server says it sends, and what it sends.
 *
 * @module
 */
import type { HttpAnswer } from "./http.ts";
import { skipBytesMax } from "./limits.ts";
import { RegistryError, type Subject } from "./registry-error.ts";

export interface ByteRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export function rangeHeader({ offsetBytes, lengthBytes }: ByteRange): [string, string] {
  return ["Range", `bytes=${offsetBytes}-${offsetBytes + lengthBytes - 1}`];
}

/**
 * The pieces of the range, exactly as many bytes as were asked for.
 *
 * Rejects with `data_loss` for another range, `unavailable` for a connection that breaks, and with
 * `unimplemented` where the whole blob comes and skipping to the range would cost too much.
 */
export async function* rangePieces(
  answer: HttpAnswer,
  range: ByteRange,
  subject: Subject,
): AsyncGenerator<Uint8Array, void> {
  const skipBytes = await checkAnswer(answer, range, subject);
  const endBytes = skipBytes + range.lengthBytes;
  // A body is read to its end, or its connection could not be used again; but a whole blob is not.
  const isAll = answer.status === 206 || Number(answer.headers.get("content-length")) === endBytes;
  let at = 0;
  for await (const piece of answer.body.pieces()) {
    const start = at;
    at += piece.length;
    if (isAll && at > endBytes) throw wrong(subject, `sent more than ${range.lengthBytes} bytes`);
    const part = piece.subarray(Math.max(0, skipBytes - start), Math.max(0, endBytes - start));
    if (part.length > 0) yield part;
    if (at >= endBytes && !isAll) break;
  }
  if (at < endBytes) throw wrong(subject, `ended after ${at} of ${endBytes} bytes`);
}

/** How many bytes come before the range. */
async function checkAnswer(
  { status, headers, body }: HttpAnswer,
  { offsetBytes, lengthBytes }: ByteRange,
  subject: Subject,
): Promise<number> {
  if (status === 206) {
    const found = /^bytes (\d+)-(\d+)\/(?:\d+|\*)$/.exec(headers.get("content-range") ?? "");
    const isRight =
      Number(found?.[1]) === offsetBytes && Number(found?.[2]) === offsetBytes + lengthBytes - 1;
    if (isRight) return 0;
    await body.discard();
    const sent = JSON.stringify(headers.get("content-range"));
    throw wrong(
      subject,
      `sent the range ${sent}, not ${rangeHeader({ offsetBytes, lengthBytes })[1]}`,
    );
  }
  if (status === 200 && offsetBytes <= skipBytesMax) return offsetBytes;
  await body.discard();
  const problem = `answered ${status} to a request for a range`;
  throw new RegistryError("unimplemented", subject, problem, {
    status,
    remedy: "use a registry or mirror that has range requests (RFC 9110, section 14)",
  });
}

function wrong(subject: Subject, problem: string): RegistryError {
  return new RegistryError("data_loss", subject, problem, {
    remedy: "check the registry and the proxies in front of it",
  });
}
