/**
 * What the kernel is told without having asked, as bytes.
 *
 * @module
 */
import { write } from "node:fs";
import { promisify } from "node:util";
import { invalidateEntryOut, invalidateInodeOut, notifyCode, outHeader } from "./protocol.ts";

const writeFile = promisify(write);
/** Nothing it is about, or nobody to hear it. */
const passedCodes: ReadonlySet<unknown> = new Set(["ENOENT", "ENODEV", "ENOTCONN", "ECONNABORTED"]);

/**
 * Tells the kernel, from another thread: it waits for the lock of the directory, which it holds
 * itself for each name that it asks for (fs/fuse/dir.c, fuse_reverse_inval_entry), and the answer
 * may be up to this thread.
 */
export async function notify(channel: number, bytes: Uint8Array): Promise<void> {
  try {
    await writeFile(channel, bytes, 0, bytes.length, null);
  } catch (error) {
    if (!passedCodes.has((error as NodeJS.ErrnoException).code)) throw error;
  }
}

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
