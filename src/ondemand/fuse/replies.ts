/**
 * Replies to the kernel, as bytes.
 *
 * @module
 */
import { alignUp, KiB } from "../../util/bytes.ts";
import {
  attributesOut,
  directoryEntryHead,
  entryOut,
  openOut,
  openReplyFlag,
  outHeader,
  statFsOut,
} from "./protocol.ts";

const pageBytes = 4 * KiB;

/** Names, sizes and modes never change while a name exists, and its end is announced. */
const foreverSeconds = BigInt(2 ** 31);

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

/**
 * Writes the header of a reply.
 *
 * @param errno 0 for none, else what the caller of the kernel gets
 * @returns the length of the reply
 */
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
