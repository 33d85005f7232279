/** Events as the kernel writes them: include/uapi/linux/fanotify.h. */

export interface EventFields {
  readonly fd: number;
  readonly pid?: number;
  /** Without both, the event names no range. */
  readonly offsetBytes?: number;
  readonly lengthBytes?: number;
}

export function fanotifyEvent({ fd, pid = 1, offsetBytes, lengthBytes }: EventFields): Buffer {
  const hasRange = offsetBytes !== undefined && lengthBytes !== undefined;
  const bytes = Buffer.alloc(hasRange ? 48 : 24);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt8(3, 4);
  bytes.writeUInt16LE(24, 6);
  bytes.writeBigUInt64LE(0x0010_0000n, 8);
  bytes.writeInt32LE(fd, 16);
  bytes.writeInt32LE(pid, 20);
  if (!hasRange) return bytes;
  bytes.writeUInt8(6, 24);
  bytes.writeUInt16LE(24, 26);
  bytes.writeBigUInt64LE(BigInt(offsetBytes), 32);
  bytes.writeBigUInt64LE(BigInt(lengthBytes), 40);
  return bytes;
}
