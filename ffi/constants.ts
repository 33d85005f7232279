/**
 * Kernel constants, by the header each group comes from. Numbers are x86-64's and arm64's: the two
 * agree except where `process.arch` is asked.
 *
 * @module
 */
const isArm64 = process.arch === "arm64";

/** arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. */
export const syscallNumber = {
  mknodat: isArm64 ? 33 : 259,
  moveMount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
} as const;

/** include/uapi/linux/fcntl.h: "the current directory"; ignored for absolute paths. */
export const atCurrentDirectory = -100;

export const atFlag = {
  symlinkNoFollow: 0x100,
  removeDirectory: 0x200,
  emptyPath: 0x1000,
} as const;

/** `O_*`: include/uapi/asm-generic/fcntl.h, with arm64's own in arch/arm64/include/uapi/asm. */
export const openFlag = {
  readOnly: 0,
  writeOnly: 1,
  readWrite: 2,
  create: 0o100,
  exclusive: 0o200,
  noControllingTerminal: 0o400,
  truncate: 0o1000,
  nonBlocking: 0o4000,
  closeOnExec: 0o2000000,
  path: 0o10000000,
  direct: isArm64 ? 0o200000 : 0o40000,
  directory: isArm64 ? 0o40000 : 0o200000,
  noFollow: isArm64 ? 0o100000 : 0o400000,
} as const;

/** include/uapi/linux/falloc.h */
export const fallocateFlag = { keepSize: 1, punchHole: 2 } as const;

/** include/uapi/linux/fs.h */
export const syncRangeFlag = { write: 2 } as const;
export const seekWhence = { set: 0, data: 3, hole: 4 } as const;

/** include/uapi/asm-generic/fcntl.h */
export const lockOperation = { exclusive: 2, nonBlocking: 4, unlock: 8 } as const;

/** Commands of fcntl(2), include/uapi/linux/fcntl.h, and kinds of leases. */
export const fileControl = { setLease: 1024, writeLease: 1, unlock: 2 } as const;

/** include/uapi/linux/limits.h: bytes with the NUL. */
export const pathBytesMax = 4096;
export const nameBytesMax = 255;

/** include/uapi/linux/limits.h: the kernel never returns more. */
export const xattrListBytesMax = 65536;
export const xattrValueBytesMax = 65536;

/** Flags of mount(2), include/uapi/linux/mount.h. */
export const mountFlag = {
  readOnly: 1,
  remount: 32,
  bind: 4096,
  private: 1 << 18,
  shared: 1 << 20,
} as const;

/** Flags of umount2(2), include/linux/fs.h. */
export const unmountFlag = { detach: 2, noFollow: 8 } as const;

/** fsopen and its family, include/uapi/linux/mount.h (Linux 5.2). */
export const fsContext = {
  openCloseOnExec: 1,
  setFlag: 0,
  setString: 1,
  create: 6,
  mountCloseOnExec: 1,
  /** The kernel copies a value of at most 256 bytes with its NUL (fs/fsopen.c). */
  stringBytesMax: 255,
  moveFromEmptyPath: 4,
  attributeReadOnly: 1,
  attributeNoAtime: 0x10,
} as const;

/** FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_TOPDIR_FL, include/uapi/linux/fs.h. */
export const inodeFlagControl = {
  get: 0x8008_6601,
  set: 0x4008_6602,
  topDirectory: 0x0002_0000,
} as const;

/** include/uapi/linux/loop.h; LOOP_CONFIGURE is in Linux 5.8 and newer. */
export const loopControl = {
  getFree: 0x4c82,
  configure: 0x4c0a,
  getStatus64: 0x4c05,
} as const;

export const loopFlag = { readOnly: 1, autoclear: 4, directIo: 16 } as const;
