/**
 * Loop devices: files as block devices, for kernels that cannot mount EROFS from files.
 *
 * A device is read-only and clears itself when its last user goes (LO_FLAGS_AUTOCLEAR), be that
 * user a descriptor or a mount. So a device is held by its descriptor from the moment it is set up
 * until the mount holds it, and nothing ever has to be detached.
 *
 * @module
 */
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { lockOperation, loopControl, loopFlag, openFlag } from "./constants.ts";
import { check, errnoNumber, isErrno, SyscallError } from "./errno.ts";
import { close, open } from "./file.ts";
import { libc } from "./libc.ts";
import { zeroed } from "./memory.ts";
import { encodeDevice, type FileStatus, statOf } from "./status.ts";
import { struct } from "./struct.ts";

export interface LoopDevice {
  /** Such as `/dev/loop7`. */
  readonly path: string;
  /** Holds the device; to `close` when a mount does. */
  readonly fd: number;
  /** Whether the kernel reads the file with direct I/O. */
  readonly directIo: boolean;
}

const controlPath = "/dev/loop-control";
const fileNameBytes = 64;

/** `struct loop_info64`, include/uapi/linux/loop.h. */
const loopInfo = struct(232, [
  ["device", "u64"],
  ["inode", "u64"],
  ["rdevice", "u64"],
  ["offset", "u64"],
  ["sizeLimit", "u64"],
  ["number", "u32"],
  ["encryptType", "u32"],
  ["encryptKeySize", "u32"],
  ["flags", "u32"],
  ["fileName", `bytes${fileNameBytes}`],
  ["cryptName", "bytes64"],
  ["encryptKey", "bytes32"],
  ["init", "bytes16"],
]);

/** `struct loop_config`, the same header. */
const loopConfig = struct(304, [
  ["fd", "u32"],
  ["blockSize", "u32"],
  ["info", "bytes232"],
  ["reserved", "bytes64"],
]);

/**
 * The device's sectors are EROFS blocks: reads are then whole blocks, which direct I/O on a disk
 * with sectors of 4 KiB demands.
 */
const sectorBytes = 4096;

/** Others may take a free device between our asking for one and our setting it up. */
const attemptsMax = 64;

/**
 * A read-only loop device of a file: the one the file already has, or a new one.
 *
 * @param directIo asks for direct I/O where the kernel can; the result tells
 */
export function openLoop(file: string, directIo: boolean): LoopDevice {
  const backing = open(file, openFlag.readOnly);
  try {
    const control = open(controlPath, openFlag.readWrite);
    try {
      // Two threads or daemons that open one file at the same time shall get one device.
      check(libc().flock(control, lockOperation.exclusive), "flock", controlPath);
      return findLoop(file, statOf(backing)) ?? attachLoop(control, file, backing, directIo);
    } finally {
      close(control);
    }
  } finally {
    close(backing);
  }
}

function attachLoop(control: number, file: string, backing: number, directIo: boolean): LoopDevice {
  for (let attempt = 1; ; attempt++) {
    const number = libc().ioctl(control, loopControl.getFree, null);
    const path = `/dev/loop${check(number, "ioctl LOOP_CTL_GET_FREE", controlPath)}`;
    try {
      return configureLoop(path, file, backing, directIo);
    } catch (error) {
      if (!isTaken(error) || attempt === attemptsMax) throw error;
    }
  }
}

/** Somebody else was faster: the device is in use (EBUSY) or was removed (ENXIO) by now. */
function isTaken(error: unknown): boolean {
  return isErrno(error, errnoNumber.busy) || isErrno(error, errnoNumber.noDeviceOrAddress);
}

function configureLoop(path: string, file: string, backing: number, directIo: boolean): LoopDevice {
  const fd = open(path, openFlag.readOnly);
  try {
    if (directIo) {
      try {
        configure(fd, path, file, backing, loopFlag.directIo);
        return { path, fd, directIo: isDirect(fd, path) };
      } catch (error) {
        if (!isErrno(error, errnoNumber.invalid)) throw error;
      }
    }
    configure(fd, path, file, backing, 0);
    return { path, fd, directIo: isDirect(fd, path) };
  } catch (error) {
    close(fd);
    throw error;
  }
}

function configure(fd: number, path: string, file: string, backing: number, flags: number): void {
  const info = loopInfo.encode({
    flags: flags | loopFlag.readOnly | loopFlag.autoclear,
    fileName: Buffer.from(file).subarray(0, fileNameBytes - 1),
  });
  const config = loopConfig.encode({ fd: backing, blockSize: sectorBytes, info });
  check(libc().ioctl(fd, loopControl.configure, config), "ioctl LOOP_CONFIGURE", path);
}

/** Older kernels drop the wish for direct I/O without a word, so the device is asked. */
function isDirect(fd: number, path: string): boolean {
  return (readStatus(fd, path).flags & loopFlag.directIo) !== 0;
}

function readStatus(fd: number, path: string) {
  const bytes = zeroed(loopInfo.sizeBytes);
  check(libc().ioctl(fd, loopControl.getStatus64, bytes), "ioctl LOOP_GET_STATUS64", path);
  return loopInfo.decode(bytes);
}

/** A read-only, self-clearing device of the whole of that very file, held open. */
function findLoop(file: string, status: FileStatus): LoopDevice | undefined {
  const backingPath = realpathSync(file);
  for (const name of readdirSync("/sys/block")) {
    if (!name.startsWith("loop") || readBackingFile(name) !== backingPath) continue;
    const device = openIfBacked(`/dev/${name}`, status);
    if (device !== undefined) return device;
  }
  return undefined;
}

/** What sysfs shows as the device's file; `undefined` for a free device. */
function readBackingFile(name: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8").trimEnd();
  } catch {
    return undefined; // The folder exists only while the device has a file.
  }
}

/** The descriptor is what keeps the device as it is, so the device is asked after it was opened. */
function openIfBacked(path: string, status: FileStatus): LoopDevice | undefined {
  let fd: number;
  try {
    fd = open(path, openFlag.readOnly);
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
  try {
    const info = readStatus(fd, path);
    const required = loopFlag.readOnly | loopFlag.autoclear;
    const isWhole = info.offset === 0n && info.sizeLimit === 0n;
    const device = BigInt(encodeDevice(status.deviceMajor, status.deviceMinor));
    const isSameFile = info.device === device && info.inode === status.inode;
    if (isWhole && isSameFile && (info.flags & required) === required)
      return { path, fd, directIo: (info.flags & loopFlag.directIo) !== 0 };
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error; // Free again by now: not the device.
  }
  close(fd);
  return undefined;
}
