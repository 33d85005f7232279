/**
 * Requests of the kernel, from bytes.
 *
 * @module
 */
import { FormatError } from "../../errors.ts";
import { KiB } from "../../util/bytes.ts";
import { inHeader, interruptIn, opcode, readIn } from "./protocol.ts";

/** Anything smaller than the largest write plus headers, or 8 KiB, the kernel refuses. */
export const requestBytesMax = 64 * KiB;
export const writeBytesMax = 4 * KiB;

export interface RequestHead {
  readonly opcode: number;
  readonly unique: bigint;
  readonly node: number;
  /** Who asks, a thread; 0 for the kernel itself and for processes that are not visible. */
  readonly pid: number;
}

const at = inHeader.offsets;

/** @throws FormatError for a length other than the header tells */
export function decodeHead(view: DataView, lengthBytes: number): RequestHead {
  if (lengthBytes < inHeader.sizeBytes || view.getUint32(at.lengthBytes, true) !== lengthBytes)
    throw new FormatError("FUSE request", 0, `${lengthBytes} bytes came`);
  return {
    opcode: view.getUint32(at.opcode, true),
    unique: view.getBigUint64(at.unique, true),
    node: number64(view, at.node),
    pid: view.getUint32(at.pid, true),
  };
}

export interface ReadArguments {
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** Of FUSE_READ and FUSE_READDIR. */
export function decodeRead(view: DataView): ReadArguments {
  return {
    offsetBytes: number64(view, inHeader.sizeBytes + readIn.offsets.offset),
    sizeBytes: view.getUint32(inHeader.sizeBytes + readIn.offsets.sizeBytes, true),
  };
}

/** The request that is to be interrupted. */
export function decodeInterrupt(view: DataView): bigint {
  return view.getBigUint64(inHeader.sizeBytes + interruptIn.offsets.unique, true);
}

/** Of FUSE_LOOKUP. */
export function decodeName(bytes: Buffer, lengthBytes: number): string {
  return bytes.toString("latin1", inHeader.sizeBytes, lengthBytes - 1);
}

/** File offsets end at 2^63; beyond 2^53 only nearness counts, for no file is as large. */
function number64(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * 2 ** 32 + view.getUint32(offset, true);
}

/** The kernel waits for no reply to these. */
export const unansweredOpcodes: ReadonlySet<number> = new Set([
  opcode.forget,
  opcode.batchForget,
  opcode.interrupt,
  opcode.notifyReply,
]);
