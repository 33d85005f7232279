/**
 * The one place that opens `libc.so.6`: the functions and system calls the rest of `ffi/` uses.
 *
 * Opened on first use in each thread. `fcntl`, `openat`, `ioctl` and `syscall` are variadic in C;
 * calling them with a fixed signature is right on x86-64 and arm64 Linux, where integer arguments
 * of variadic functions travel in the same registers.
 *
 * @module
 */
import { dlopen, FFIType, type Pointer } from "bun:ffi";
import { defined } from "../src/util/assert.ts";

const library = "libc.so.6";

/** `ssize_t`, `off_t` and `long`: a number where it is a safe integer. */
const long = FFIType.i64_fast;

/** In glibc 2.31 and newer. */
function openFunctions() {
  return dlopen(library, {
    __errno_location: { args: [], returns: "ptr" },
    clock_gettime: { args: ["i32", "ptr"], returns: "i32" },
    close: { args: ["i32"], returns: "i32" },
    dup3: { args: ["i32", "i32", "i32"], returns: "i32" },
    epoll_create1: { args: ["i32"], returns: "i32" },
    epoll_ctl: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
    epoll_wait: { args: ["i32", "ptr", "i32", "i32"], returns: "i32" },
    eventfd: { args: ["u32", "i32"], returns: "i32" },
    fallocate: { args: ["i32", "i32", "i64", "i64"], returns: "i32" },
    fanotify_init: { args: ["u32", "u32"], returns: "i32" },
    fanotify_mark: { args: ["i32", "u32", "u64", "i32", "ptr"], returns: "i32" },
    fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
    flock: { args: ["i32", "i32"], returns: "i32" },
    getdents64: { args: ["i32", "ptr", "u64"], returns: long },
    ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
    lgetxattr: { args: ["ptr", "ptr", "ptr", "u64"], returns: long },
    llistxattr: { args: ["ptr", "ptr", "u64"], returns: long },
    lseek: { args: ["i32", "i64", "i32"], returns: long },
    lsetxattr: { args: ["ptr", "ptr", "ptr", "u64", "i32"], returns: "i32" },
    madvise: { args: ["ptr", "u64", "i32"], returns: "i32" },
    mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
    mount: { args: ["ptr", "ptr", "ptr", "u64", "ptr"], returns: "i32" },
    munmap: { args: ["ptr", "u64"], returns: "i32" },
    openat: { args: ["i32", "ptr", "i32", "u32"], returns: "i32" },
    pipe2: { args: ["ptr", "i32"], returns: "i32" },
    poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
    posix_fadvise: { args: ["i32", "i64", "i64", "i32"], returns: "i32" },
    pread: { args: ["i32", "ptr", "u64", "i64"], returns: long },
    read: { args: ["i32", "ptr", "u64"], returns: long },
    readahead: { args: ["i32", "i64", "u64"], returns: long },
    readlinkat: { args: ["i32", "ptr", "ptr", "u64"], returns: long },
    sendmsg: { args: ["i32", "ptr", "i32"], returns: long },
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    statx: { args: ["i32", "ptr", "i32", "u32", "ptr"], returns: "i32" },
    strerror: { args: ["i32"], returns: "cstring" },
    sync_file_range: { args: ["i32", "i64", "i64", "u32"], returns: "i32" },
    syncfs: { args: ["i32"], returns: "i32" },
    umount2: { args: ["ptr", "i32"], returns: "i32" },
    unlinkat: { args: ["i32", "ptr", "i32"], returns: "i32" },
    utimensat: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
    write: { args: ["i32", "ptr", "u64"], returns: long },
  }).symbols;
}

/**
 * System calls that glibc 2.31 has no function for, as `syscall(number, ...)`, once per signature:
 * fsopen and its family; mknodat, which glibc exports since 2.33 only; pidfd_open and its family,
 * which it has since 2.36; kcmp; and cachestat.
 */
function openSyscalls() {
  return {
    fsopen: dlopen(library, {
      syscall: { args: ["i64", "ptr", "u32"], returns: long },
    }).symbols.syscall,
    fsconfig: dlopen(library, {
      syscall: { args: ["i64", "i32", "u32", "ptr", "ptr", "i32"], returns: long },
    }).symbols.syscall,
    fsmount: dlopen(library, {
      syscall: { args: ["i64", "i32", "u32", "u32"], returns: long },
    }).symbols.syscall,
    moveMount: dlopen(library, {
      syscall: { args: ["i64", "i32", "ptr", "i32", "ptr", "u32"], returns: long },
    }).symbols.syscall,
    cachestat: dlopen(library, {
      syscall: { args: ["i64", "i32", "ptr", "ptr", "u32"], returns: long },
    }).symbols.syscall,
    mknodat: dlopen(library, {
      syscall: { args: ["i64", "i32", "ptr", "u32", "u32"], returns: long },
    }).symbols.syscall,
    kcmp: dlopen(library, {
      syscall: { args: ["i64", "i32", "i32", "i32", "u64", "u64"], returns: long },
    }).symbols.syscall,
    pidfdOpen: dlopen(library, {
      syscall: { args: ["i64", "i32", "u32"], returns: long },
    }).symbols.syscall,
    pidfdGetfd: dlopen(library, {
      syscall: { args: ["i64", "i32", "i32", "u32"], returns: long },
    }).symbols.syscall,
  };
}

let functions: ReturnType<typeof openFunctions> | undefined;
let errnoPointer: Pointer | undefined;
let syscalls: ReturnType<typeof openSyscalls> | undefined;

/** The C library's functions, for this thread. */
export function libc(): ReturnType<typeof openFunctions> {
  if (functions === undefined) {
    functions = openFunctions();
    errnoPointer = defined(functions.__errno_location(), "the address of errno") as Pointer;
  }
  return functions;
}

/** Where this thread's errno is; known before the first call, so that reading disturbs nothing. */
export function errnoLocation(): Pointer {
  return defined(errnoPointer, "the C library");
}

/** Bound `syscall()`s, for this thread; the first argument is the number (`syscallNumber`). */
export function boundSyscalls(): ReturnType<typeof openSyscalls> {
  syscalls ??= openSyscalls();
  return syscalls;
}
