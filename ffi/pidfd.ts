/**
 * Descriptors of other processes: pidfd_open(2) and pidfd_getfd(2), Linux 5.6.
 *
 * A pidfd means one process for good, so nothing goes wrong between its opening and its use when
 * the process ends and its number is given to another one. pidfd_getfd asks for the right to trace
 * the other process (PTRACE_MODE_ATTACH_REALCREDS), which root has.
 *
 * @module
 */
import { compareFiles, fileControl, syscallNumber } from "./constants.ts";
import { check } from "./errno.ts";
import { close } from "./file.ts";
import { boundSyscalls, libc } from "./libc.ts";

/**
 * A duplicate of another process's descriptor: the same open file, as dup(2) makes one, closed at
 * exec. Throws a `SyscallError`: ESRCH where the process has ended, EBADF where it has no such
 * descriptor.
 *
 * @param pid in the PID namespace of this process
 */
export function duplicateFrom(pid: number, fd: number): number {
  const processFd = check(
    boundSyscalls().pidfdOpen(syscallNumber.pidfdOpen, pid, 0),
    "pidfd_open",
    `process ${pid}`,
  );
  try {
    return check(
      boundSyscalls().pidfdGetfd(syscallNumber.pidfdGetfd, processFd, fd, 0),
      "pidfd_getfd",
      `fd ${fd} of process ${pid}`,
    );
  } finally {
    close(processFd);
  }
}

/**
 * A duplicate of a descriptor of this process, closed at exec: the lowest number that is free, from
 * `lowest` on.
 */
export function duplicate(fd: number, lowest = 0): number {
  return check(libc().fcntl(fd, fileControl.duplicateCloseOnExec, lowest), "fcntl", `fd ${fd}`);
}

/**
 * Whether two descriptors of this process are the same open file, as dup(2) makes them: kcmp(2).
 * Throws a `SyscallError`: ENOSYS where the kernel is built without it.
 */
export function isSameFile(left: number, right: number): boolean {
  const { pid } = process;
  const order = boundSyscalls().kcmp(syscallNumber.kcmp, pid, pid, compareFiles, left, right);
  return check(order, "kcmp", `fd ${left}`) === 0;
}

/** From now on the descriptor does not stay open in programs that this process starts. */
export function setCloseOnExec(fd: number): void {
  const { setDescriptorFlags, closeOnExec } = fileControl;
  check(libc().fcntl(fd, setDescriptorFlags, closeOnExec), "fcntl", `fd ${fd}`);
}
