/**
 * Failures of system calls: names and texts of errno, and `check()`, which turns a result into a
 * number or a `SyscallError`.
 *
 * @module
 */
import { read } from "bun:ffi";
import { constants } from "node:os";
import { AppError, type ErrorCode } from "../src/errors.ts";
import { errnoLocation, libc } from "./libc.ts";

/** include/uapi/asm-generic/errno.h, as far as node:os has them and as far as callers ask. */
const numbersByName: Readonly<Record<string, number>> = {
  ...constants.errno,
  ENOTBLK: 15,
  EOPNOTSUPP: 95,
  EUCLEAN: 117,
  ENOMEDIUM: 123,
};

const namesByNumber: ReadonlyMap<number, string> = new Map(
  Object.entries(numbersByName).map(([name, number]) => [number, name]),
);

export const errnoNumber = {
  noEntry: 2,
  interrupted: 4,
  inputOutput: 5,
  noDeviceOrAddress: 6,
  again: 11,
  accessDenied: 13,
  notBlockDevice: 15,
  busy: 16,
  exists: 17,
  noDevice: 19,
  notDirectory: 20,
  isDirectory: 21,
  invalid: 22,
  noSpace: 28,
  range: 34,
  noFunction: 38,
  loop: 40,
  noData: 61,
  notSupported: 95,
  connectionAborted: 103,
} as const;

const codesByName: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "not_found",
  EEXIST: "already_exists",
  ENOSPC: "resource_exhausted",
  EDQUOT: "resource_exhausted",
  EMFILE: "resource_exhausted",
  ENFILE: "resource_exhausted",
  EACCES: "permission_denied",
  EPERM: "permission_denied",
  EINVAL: "invalid_argument",
};

/** The symbolic name, such as `ENOENT`; `errno 999` where there is none. */
export function errnoName(errno: number): string {
  return namesByNumber.get(errno) ?? `errno ${errno}`;
}

/** A system call that failed: which, with what errno, on what. */
export class SyscallError extends AppError {
  override readonly name = "SyscallError";
  readonly syscall: string;
  readonly errno: number;
  readonly errnoName: string;
  /** What the call was about: a path or a name, for people. */
  readonly path: string;

  /** @param detail what the kernel said beyond errno */
  constructor(syscall: string, errno: number, path: string, detail?: string) {
    const name = errnoName(errno);
    const text = detail ?? String(libc().strerror(errno));
    super(codesByName[name] ?? "internal", `Cannot ${syscall} "${path}": ${name} (${text})`);
    this.syscall = syscall;
    this.errno = errno;
    this.errnoName = name;
    this.path = path;
  }
}

/** True if `error` is a failed system call with that errno (see `errnoNumber`). */
export function isErrno(error: unknown, errno: number): error is SyscallError {
  return error instanceof SyscallError && error.errno === errno;
}

/** errno of the call before; only right as the very first thing after that call. */
export function lastErrno(): number {
  return read.i32(errnoLocation(), 0);
}

/**
 * The result of a system call, if it succeeded. Call it around the call itself, so that errno is
 * read at once. Throws a `SyscallError` for negative results.
 */
export function check(result: number | bigint, syscall: string, path: string): number {
  if (result < 0) throw new SyscallError(syscall, lastErrno(), path);
  return Number(result);
}
