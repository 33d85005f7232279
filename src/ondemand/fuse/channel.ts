/**
 * The mount and its channel: made anew, or taken over from a process that is gone.
 *
 * @module
 */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { close } from "../../../ffi/file.ts";
import { mountFuse, openFuse, readRequest, writeReply } from "../../../ffi/fuse.ts";
import { zeroed } from "../../../ffi/memory.ts";
import { unmount } from "../../../ffi/mount.ts";
import { AppError } from "../../errors.ts";
import { type MountEntry, parseMountInfo } from "../../mount/mountinfo.ts";
import { assert } from "../../util/assert.ts";
import type { ChannelKeeper } from "../contract.ts";
import { decodeHead, requestBytesMax } from "./requests.ts";
import { negotiate, type Negotiated, readBytesMax } from "./handshake.ts";
import { encodeResend } from "./notifications.ts";
import { readMountRecord, writeMountRecord } from "./mount-record.ts";
import { rootMode } from "./nodes.ts";
import { opcode } from "./protocol.ts";
import { ReplyWriter } from "./reply-writer.ts";

/** What mountinfo shows as `fuse.<name>`. */
const fileSystemName = "dedup-lazy";
const channelName = "fuse";

export interface FuseChannel {
  readonly fd: number;
  readonly mountPoint: string;
  /** The keeper has a duplicate: the mount outlives this process. */
  readonly isKept: boolean;
}

/** @throws AppError `failed_precondition` where this machine cannot mount FUSE */
export async function openChannel(
  root: string,
  keeper: ChannelKeeper | undefined,
): Promise<FuseChannel> {
  const mountPoint = join(root, "lazy");
  const adopted = await adopt(root, mountPoint, keeper);
  if (adopted !== undefined) {
    // Again, so that this process gives it to a keeper that takes the place of this one.
    await keeper?.keep(channelName, adopted);
    return { fd: adopted, mountPoint, isKept: true };
  }
  unmountAll(mountPoint);
  mkdirSync(mountPoint, { recursive: true, mode: 0o700 });
  const fd = openFuse();
  try {
    mountFuse({
      channel: fd,
      target: mountPoint,
      name: fileSystemName,
      rootMode,
      readBytesMax,
    });
    const { hasResend } = shakeHands(fd);
    const device = mountAt(mountPoint)?.device ?? "";
    writeMountRecord(root, { device });
    // Without FUSE_NOTIFY_RESEND a read that was taken and not answered would wait for ever, and
    // could not even be killed: then the mount is better dead with the process.
    if (hasResend) await keeper?.keep(channelName, fd);
    return { fd, mountPoint, isKept: hasResend && keeper !== undefined };
  } catch (error) {
    unmountAll(mountPoint);
    close(fd);
    throw error;
  }
}

/** Ends the mount, for its users too, unless it has users and somebody keeps the channel. */
export function closeChannel({ fd, mountPoint, isKept }: FuseChannel, hasUsers: boolean): void {
  if (!isKept || !hasUsers) unmountAll(mountPoint);
  close(fd);
}

/**
 * The channel an earlier process had, if it is that of what is mounted now. What that process took
 * and did not answer comes again, before anything else.
 */
async function adopt(
  root: string,
  mountPoint: string,
  keeper: ChannelKeeper | undefined,
): Promise<number | undefined> {
  const fd = await keeper?.adopt(channelName);
  if (fd === undefined) return undefined;
  const mounted = mountAt(mountPoint);
  const isOurs =
    mounted?.fileSystem === `fuse.${fileSystemName}` &&
    mounted.device === readMountRecord(root)?.device;
  const resend = encodeResend();
  if (isOurs && writeReply(fd, resend, resend.length)) return fd;
  close(fd);
  return undefined;
}

/** The kernel's first request, which mount(2) leaves in the channel. */
function shakeHands(fd: number): Negotiated {
  const request = zeroed(requestBytesMax);
  const lengthBytes = readRequest(fd, request);
  assert(lengthBytes !== undefined, "a file system that was just mounted is there");
  const head = decodeHead(new DataView(request.buffer), lengthBytes);
  assert(head.opcode === opcode.init, "the first request is FUSE_INIT");
  const negotiated = negotiate(request.subarray(0, lengthBytes));
  new ReplyWriter(fd).send(head.unique, negotiated.reply);
  return negotiated;
}

function mountAt(mountPoint: string): MountEntry | undefined {
  const entries = parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"));
  return entries.findLast((entry) => entry.mountPoint === mountPoint);
}

/** Of one place; more means that something mounts as fast as we unmount. */
const stackedMountsMax = 64;

/** Also a mount whose process is gone, which nothing but this can be done with. */
function unmountAll(mountPoint: string): void {
  for (let count = 0; mountAt(mountPoint) !== undefined; count++) {
    if (count === stackedMountsMax)
      throw new AppError("internal", `Cannot unmount "${mountPoint}": it is mounted again`);
    unmount(mountPoint, { lazily: true });
  }
}
