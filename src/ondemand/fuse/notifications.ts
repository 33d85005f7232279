/**
 * What the kernel is told without having asked, as bytes.
 *
 * @module
 */
import { invalidateEntryOut, invalidateInodeOut, notifyCode, outHeader } from "./protocol.ts";

/** A notification has a code in the place of the error, and answers nothing. */
function encodeNotification(code: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const payload = Buffer.concat(parts);
  const lengthBytes = outHeader.sizeBytes + payload.length;
  return Buffer.concat([outHeader.encode({ lengthBytes, error: code }), payload]);
}

/** Asks for all requests that were taken and not answered, as new ones. */
export function encodeResend(): Uint8Array {
  return encodeNotification(notifyCode.resend);
}

/** A name is no longer what it was. */
export function encodeInvalidateEntry(parent: number, name: string): Uint8Array {
  const head = invalidateEntryOut.encode({ parent: BigInt(parent), nameBytes: name.length });
  return encodeNotification(notifyCode.invalidateEntry, head, Buffer.from(`${name}\0`, "latin1"));
}

/** Attributes and all cached content of a node are no longer valid. */
export function encodeInvalidateInode(node: number): Uint8Array {
  const body = invalidateInodeOut.encode({ node: BigInt(node) });
  return encodeNotification(notifyCode.invalidateInode, body);
}
