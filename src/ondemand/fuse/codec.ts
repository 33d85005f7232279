/**
 * Requests and replies as bytes.
 *
 * @module
 */
import { FormatError } from "../../errors.ts";
import { alignUp, KiB, MiB } from "../../util/bytes.ts";
import {
  attributesOut,
  directoryEntryHead,
  entryOut,
  inHeader,
  initFlag,
  initFlag2,
  initIn,
  initOut,
  interruptIn,
  invalidateEntryOut,
  invalidateInodeOut,
  notifyCode,
  openOut,
  opcode,
  openReplyFlag,
  outHeader,
  protocolVersion,
  readIn,
  statFsOut,
} from "./protocol.ts";

/** The most the kernel allows (fs.fuse.max_pages_limit): what EROFS asks for at once is less. */
export const readBytesMax = MiB;
const pageBytes = 4 * KiB;

/**
 * Reads of EROFS are asynchronous, which FUSE counts as "background" and by default passes on only
 * twelve at a time: a dozen that wait for the network would stop all others, also those whose data
 * is there. The largest number there is.
 */
const backgroundMax = 0xffff;

/** Anything smaller than the largest write plus headers, or 8 KiB, the kernel refuses. */
export const requestBytesMax = 64 * KiB;
const writeBytesMax = 4 * KiB;

/** Names, sizes and modes never change while a name exists, and its end is announced. */
const foreverSeconds = BigInt(2 ** 31);

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

/** What the first request and our answer to it settled for the life of the mount. */
export interface Negotiated {
  readonly reply: Uint8Array;
  /** Requests that a process took and did not answer can be asked for again (Linux 6.9). */
  readonly hasResend: boolean;
}

/** @param bytes the whole request FUSE_INIT */
export function negotiate(bytes: Uint8Array): Negotiated {
  const offered = initIn.decode(bytes.subarray(inHeader.sizeBytes));
  if (offered.major !== protocolVersion.major)
    throw new FormatError("FUSE_INIT", inHeader.sizeBytes, `version ${offered.major}`);
  const flags2 = (offered.flags & initFlag.extended) === 0 ? 0 : offered.flags2;
  const wanted =
    initFlag.asyncRead |
    initFlag.asyncDirectIo |
    initFlag.parallelDirectoryOperations |
    initFlag.maxPages |
    initFlag.extended;
  const reply = initOut.encode({
    ...protocolVersion,
    readaheadBytesMax: offered.readaheadBytesMax,
    flags: offered.flags & wanted,
    backgroundMax,
    congestionThreshold: backgroundMax,
    writeBytesMax,
    timeGranularityNs: 1,
    pagesMax: readBytesMax / pageBytes,
    flags2: flags2 & initFlag2.hasResend,
  });
  return { reply, hasResend: (flags2 & initFlag2.hasResend) !== 0 };
}

export interface NodeFacts {
  readonly node: number;
  /** Tells apart files that have a node one after the other. */
  readonly generation: number;
  /** As `st_mode`. */
  readonly mode: number;
  readonly sizeBytes: number;
}

function attributesOf({ node, mode, sizeBytes }: NodeFacts) {
  return {
    attributeSeconds: foreverSeconds,
    inode: BigInt(node),
    sizeBytes: BigInt(sizeBytes),
    blocks512: BigInt(Math.ceil(sizeBytes / 512)),
    mode,
    links: 1,
    blockBytes: pageBytes,
  };
}

export function encodeEntry(facts: NodeFacts): Uint8Array {
  return entryOut.encode({
    ...attributesOf(facts),
    node: BigInt(facts.node),
    generation: BigInt(facts.generation),
    entrySeconds: foreverSeconds,
  });
}

export function encodeAttributes(facts: NodeFacts): Uint8Array {
  return attributesOut.encode(attributesOf(facts));
}

/**
 * Direct I/O: what EROFS or a loop device asks for comes as it is, without readahead of our own,
 * and is cached once, as pages of the EROFS files.
 */
export function encodeOpen(): Uint8Array {
  return openOut.encode({ flags: openReplyFlag.directIo | openReplyFlag.noFlush });
}

export function encodeOpenDirectory(): Uint8Array {
  return openOut.encode({});
}

export function encodeStatFs(files: number): Uint8Array {
  return statFsOut.encode({
    files: BigInt(files),
    blockBytes: pageBytes,
    fragmentBytes: pageBytes,
    nameBytesMax: 255,
  });
}

export interface NamedNode {
  readonly name: string;
  readonly node: number;
  /** `S_IFMT` of the mode. */
  readonly type: number;
  /** Of the entry behind it: ascending, and the same in each call. */
  readonly nextOffset: number;
}

/** As many entries as fit. */
export function encodeDirectory(entries: Iterable<NamedNode>, sizeBytesMax: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for (const { name, node, type, nextOffset } of entries) {
    const part = Buffer.alloc(alignUp(directoryEntryHead.sizeBytes + name.length, 8));
    sizeBytes += part.length;
    if (sizeBytes > sizeBytesMax) break;
    const head = { inode: BigInt(node), nextOffset: BigInt(nextOffset), nameBytes: name.length };
    part.set(directoryEntryHead.encode({ ...head, type: type >>> 12 }));
    part.write(name, directoryEntryHead.sizeBytes, "latin1");
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Writes the header of a reply. @param errno 0 for none, else what the caller of the kernel gets */
export function writeOutHeader(
  view: DataView,
  unique: bigint,
  errno: number,
  payloadBytes: number,
): number {
  const lengthBytes = outHeader.sizeBytes + payloadBytes;
  view.setUint32(outHeader.offsets.lengthBytes, lengthBytes, true);
  view.setInt32(outHeader.offsets.error, -errno, true);
  view.setBigUint64(outHeader.offsets.unique, unique, true);
  return lengthBytes;
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

/** The kernel waits for no reply to these. */
export const unansweredOpcodes: ReadonlySet<number> = new Set([
  opcode.forget,
  opcode.batchForget,
  opcode.interrupt,
  opcode.notifyReply,
]);
