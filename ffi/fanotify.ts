/**
 * Pre-content events: the kernel asks before it reads (fanotify(7), FAN_PRE_ACCESS, Linux 6.14).
 *
 * A *group* is the channel, a *mark* says which file is watched. Each event carries a descriptor
 * of the file and the range about to be read; its reader waits until an answer with that
 * descriptor's number was written to the group. What is read or written through a file that was
 * opened before the first mark, or through an event's own descriptor, raises no events.
 *
 * @module
 */
import { assert } from "../src/util/assert.ts";
import { fanotify, largeFile, openFlag } from "./constants.ts";
import { check, errnoNumber, isErrno, lastErrno, SyscallError } from "./errno.ts";
import { libc } from "./libc.ts";
import { cPath } from "./memory.ts";
import { struct } from "./struct.ts";

export interface FanotifyEvent {
  /** Of the file, for reading and writing; to be answered by its number, then closed. */
  readonly fd: number;
  /** The process that reads. */
  readonly pid: number;
  /** As `noteInode` noted it. */
  readonly inode: number | undefined;
  readonly offsetBytes: number;
  /** `Infinity` where the kernel names no range: anything behind the offset. */
  readonly lengthBytes: number;
  /** Where the event stands in the bytes that were read. */
  readonly position: number;
}

/** `struct fanotify_event_metadata`, include/uapi/linux/fanotify.h. */
const metadata = struct(24, [
  ["eventBytes", "u32"],
  ["version", "u8"],
  ["reserved", "u8"],
  ["metadataBytes", "u16"],
  ["mask", "u64"],
  ["fd", "s32"],
  ["pid", "s32"],
]);

/** `struct fanotify_event_info_range`, the same header; begins with its type and length. */
const rangeInfo = struct(24, [
  ["infoType", "u8"],
  ["pad", "u8"],
  ["infoBytes", "u16"],
  ["pad2", "u32"],
  ["offset", "u64"],
  ["count", "u64"],
]);

/** What an event takes that names its range, as those of FAN_PRE_ACCESS do. */
export const fanotifyEventBytes = metadata.sizeBytes + rangeInfo.sizeBytes;

/** `struct fanotify_response`. */
const response = struct(8, [
  ["fd", "s32"],
  ["response", "u32"],
]);

/**
 * A new group, which never blocks and drops no event. Throws SyscallError: EINVAL without
 * CONFIG_FANOTIFY_ACCESS_PERMISSIONS, EPERM without CAP_SYS_ADMIN.
 */
export function openFanotify(): number {
  const { classPreContent, closeOnExec, nonBlocking, unlimitedQueue, unlimitedMarks } = fanotify;
  const flags = classPreContent | closeOnExec | nonBlocking | unlimitedQueue | unlimitedMarks;
  const eventFlags = openFlag.readWrite | largeFile | openFlag.closeOnExec;
  return check(libc().fanotify_init(flags, eventFlags), "fanotify_init", "pre-content events");
}

/**
 * From now on, reads of the file raise events: those through files opened from now on, and those
 * through files that were opened while it was marked before. Throws SyscallError: EOPNOTSUPP for
 * file systems that have none (tmpfs, overlay), EINVAL for kernels that have none.
 */
export function watchFile(group: number, path: string): void {
  const { markAdd, preAccess } = fanotify;
  const result = libc().fanotify_mark(group, markAdd, preAccess, -1, cPath(path));
  check(result, "fanotify_mark", path);
}

/** No more events of the file; no error where there were none. */
export function unwatchFile(group: number, path: string): void {
  try {
    const { markRemove, preAccess } = fanotify;
    const result = libc().fanotify_mark(group, markRemove, preAccess, -1, cPath(path));
    check(result, "fanotify_mark", path);
  } catch (error) {
    if (!isErrno(error, errnoNumber.noEntry)) throw error;
  }
}

/**
 * Takes as many events as wait and as the buffer has room for.
 *
 * @returns how many bytes of the buffer they fill; 0 if none waits
 */
export function readEvents(group: number, buffer: Uint8Array): number {
  const length = Number(libc().read(group, buffer, buffer.length));
  if (length >= 0) return length;
  const errno = lastErrno();
  if (errno === errnoNumber.again || errno === errnoNumber.interrupted) return 0;
  throw new SyscallError("read", errno, "fanotify group");
}

/** The event at a position in what `readEvents` filled; undefined behind the last one. */
export function eventAt(view: DataView, position: number): FanotifyEvent | undefined {
  if (position + metadata.sizeBytes > view.byteLength) return undefined;
  const at = metadata.offsets;
  if (view.getUint32(position + at.eventBytes, true) === 0) return undefined;
  const version = view.getUint8(position + at.version);
  assert(version === fanotify.version, `a fanotify event of version ${version}`);
  const fd = view.getInt32(position + at.fd, true);
  const pid = view.getInt32(position + at.pid, true);
  const inode = notedInode(view, position);
  const info = findRange(view, position);
  if (info === undefined)
    return { fd, pid, inode, offsetBytes: 0, lengthBytes: Infinity, position };
  const offsetBytes = Number(view.getBigUint64(info + rangeInfo.offsets.offset, true));
  const lengthBytes = Number(view.getBigUint64(info + rangeInfo.offsets.count, true));
  return { fd, pid, inode, offsetBytes, lengthBytes, position };
}

/** Where the next event begins. */
export function nextEventPosition(view: DataView, position: number): number {
  return position + view.getUint32(position + metadata.offsets.eventBytes, true);
}

/** Set in the mask, which nobody asks for any more, where it is an inode. */
const notedFlag = 2n ** 63n;

/** Takes note, in what `readEvents` filled, of the file that an event is about. */
export function noteInode(view: DataView, position: number, inode: number): void {
  view.setBigUint64(position + metadata.offsets.mask, BigInt(inode) | notedFlag, true);
}

function notedInode(view: DataView, position: number): number | undefined {
  const mask = view.getBigUint64(position + metadata.offsets.mask, true);
  return mask >= notedFlag ? Number(mask - notedFlag) : undefined;
}

/** Takes note, in what `readEvents` filled, that an event is answered. */
export function forgetEvent(view: DataView, position: number): void {
  view.setInt32(position + metadata.offsets.fd, -1, true);
}

function findRange(view: DataView, position: number): number | undefined {
  const end = nextEventPosition(view, position);
  const { metadataBytes } = metadata.offsets;
  let info = position + view.getUint16(position + metadataBytes, true);
  while (info + rangeInfo.sizeBytes <= end) {
    if (view.getUint8(info) === fanotify.infoRange) return info;
    const infoBytes = view.getUint16(info + rangeInfo.offsets.infoBytes, true);
    if (infoBytes === 0) return undefined;
    info += infoBytes;
  }
  return undefined;
}

const answer = response.encode({});

/**
 * Lets the reader of an event go on: with what is in the file, or with an error if `errno` is not
 * 0. Of all errnos the kernel takes only a few here, and every reader sees EIO.
 *
 * @returns false if nobody waits for the answer (any more)
 */
export function answerEvent(group: number, fd: number, errno: 0 | 5 | 28): boolean {
  const verdict = errno === 0 ? fanotify.allow : fanotify.deny | (errno << fanotify.errnoShift);
  answer.writeInt32LE(fd, response.offsets.fd);
  answer.writeUInt32LE(verdict, response.offsets.response);
  const written = Number(libc().write(group, answer, answer.length));
  if (written === answer.length) return true;
  const failure = lastErrno();
  if (failure === errnoNumber.noEntry) return false;
  throw new SyscallError("answer", failure, `fanotify event ${fd}`);
}
