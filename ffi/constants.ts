/**
 * Kernel constants, by the header each group comes from. Numbers are x86-64's and arm64's: the two
 * agree except where `process.arch` is asked.
 *
 * @module
 */
const isArm64 = process.arch === "arm64";

/** arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. */
export const syscallNumber = {
  kcmp: isArm64 ? 272 : 312,
  mknodat: isArm64 ? 33 : 259,
  moveMount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  pidfdOpen: 434,
  pidfdGetfd: 438,
  cachestat: 451,
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

/** Of mmap(2): include/uapi/asm-generic/mman-common.h, include/uapi/linux/mman.h. */
export const mapFlag = { read: 1, shared: 1 } as const;

/** include/uapi/linux/falloc.h */
export const fallocateFlag = { keepSize: 1, punchHole: 2 } as const;

/** include/uapi/asm-generic/mman-common.h */
export const memoryAdvice = { dontNeed: 4 } as const;

/** include/uapi/linux/fs.h */
export const syncRangeFlag = { write: 2 } as const;
export const seekWhence = { set: 0, data: 3, hole: 4 } as const;

/** include/uapi/asm-generic/fcntl.h */
export const lockOperation = { exclusive: 2, nonBlocking: 4, unlock: 8 } as const;

/** Commands of fcntl(2), include/uapi/linux/fcntl.h, and kinds of leases. */
export const fileControl = {
  setDescriptorFlags: 2,
  setLease: 1024,
  duplicateCloseOnExec: 1030,
  closeOnExec: 1,
  writeLease: 1,
  unlock: 2,
} as const;

/** include/linux/socket.h, include/uapi/linux/un.h */
export const socketOption = {
  unixFamily: 1,
  datagram: 2,
  closeOnExec: 0o2000000,
  socketLevel: 1,
  rights: 1,
  noSignal: 0x4000,
  /** `sun_path`, with the NUL at its end. */
  pathBytesMax: 108,
} as const;

/** include/uapi/linux/kcmp.h */
export const compareFiles = 0;

/** include/uapi/linux/limits.h: bytes with the NUL. */
export const pathBytesMax = 4096;
export const nameBytesMax = 255;

/** include/uapi/linux/limits.h: the kernel never returns more. */
export const xattrListBytesMax = 65536;
export const xattrValueBytesMax = 65536;

/** Flags of mount(2), include/uapi/linux/mount.h. */
export const mountFlag = {
  readOnly: 1,
  noSetUid: 2,
  noDevices: 4,
  noExecution: 8,
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

/** include/uapi/asm-generic/fcntl.h: `O_LARGEFILE`, which only 32-bit programs imply not. */
export const largeFile = isArm64 ? 0o400000 : 0o100000;

/** include/uapi/linux/fanotify.h; `preAccess` is in Linux 6.14 and newer. */
export const fanotify = {
  classPreContent: 8,
  closeOnExec: 1,
  nonBlocking: 2,
  unlimitedQueue: 0x10,
  unlimitedMarks: 0x20,
  markAdd: 1,
  markRemove: 2,
  preAccess: 0x0010_0000,
  version: 3,
  infoRange: 6,
  allow: 1,
  deny: 2,
  /** The errno of a denial stands in the upper byte of the answer. */
  errnoShift: 24,
} as const;

/** include/uapi/linux/eventfd.h */
export const eventFlag = { closeOnExec: 0o2000000 } as const;

/** include/uapi/linux/eventpoll.h */
export const epollEvent = {
  closeOnExec: 0o2000000,
  add: 1,
  readable: 1,
  exclusive: 2 ** 28,
} as const;

/** include/uapi/linux/fadvise.h */
export const fileAdvice = { doNotNeed: 4 } as const;
