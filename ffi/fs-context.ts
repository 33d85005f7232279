/**
 * A mount in the making: fsopen(2), fsconfig(2), fsmount(2) and move_mount(2), Linux 5.2.
 *
 * Unlike mount(2), whose options end at 4095 bytes, it takes any number of devices, each its own
 * string; a comma in a path means nothing.
 *
 * @module
 */
import { assert } from "../src/util/assert.ts";
import { atCurrentDirectory, fsContext, openFlag, syscallNumber } from "./constants.ts";
import { check, SyscallError } from "./errno.ts";
import { close, open } from "./file.ts";
import { boundSyscalls, libc } from "./libc.ts";
import { cPath, zeroed } from "./memory.ts";

/** One message of the log a context keeps; the kernel's own are far shorter. */
const logMessageBytesMax = 1024;
/** The kernel keeps eight (fs/fs_context.c, struct fc_log); reading never goes on for ever. */
const logMessagesMax = 16;

/** Dispose of it, whether or not it was attached. */
export class FsContext implements Disposable {
  readonly #type: string;
  readonly #fd: number;
  /** Files that stand for paths too long for a string; open until the kernel has used them. */
  readonly #held: number[] = [];

  constructor(type: string) {
    const { fsopen } = boundSyscalls();
    const fd = fsopen(syscallNumber.fsopen, cPath(type), fsContext.openCloseOnExec);
    this.#fd = check(fd, "fsopen", type);
    this.#type = type;
  }

  setFlag(key: string): void {
    const { fsconfig } = boundSyscalls();
    const number = syscallNumber.fsconfig;
    const result = fsconfig(number, this.#fd, fsContext.setFlag, cPath(key), null, 0);
    this.#check(result, "fsconfig", key);
  }

  /** Sets an option that is an absolute path of a file that exists, however long. */
  setPath(key: string, path: string): void {
    assert(path.startsWith("/"), `"${path}" is not absolute`);
    const { fsconfig } = boundSyscalls();
    const text = cPath(this.#shorten(path));
    const number = syscallNumber.fsconfig;
    const result = fsconfig(number, this.#fd, fsContext.setString, cPath(key), text, 0);
    this.#check(result, "fsconfig", `${key}=${path}`);
  }

  /** Makes the file system and attaches it at `target`, an absolute path. */
  attach(target: string, attributes: number): void {
    assert(target.startsWith("/"), `"${target}" is not absolute`);
    const { fsconfig, fsmount, moveMount } = boundSyscalls();
    const created = fsconfig(syscallNumber.fsconfig, this.#fd, fsContext.create, null, null, 0);
    this.#check(created, "mount", target);
    const flags = fsContext.mountCloseOnExec;
    const mountFd = fsmount(syscallNumber.fsmount, this.#fd, flags, attributes);
    const mount = this.#check(mountFd, "fsmount", target);
    try {
      const empty = zeroed(1);
      const place = cPath(target);
      const moved = moveMount(
        syscallNumber.moveMount,
        mount,
        empty,
        atCurrentDirectory,
        place,
        fsContext.moveFromEmptyPath,
      );
      check(moved, "move_mount", target);
    } finally {
      close(mount);
    }
  }

  [Symbol.dispose](): void {
    for (const fd of this.#held.splice(0)) close(fd);
    close(this.#fd);
  }

  #shorten(path: string): string {
    if (Buffer.byteLength(path) <= fsContext.stringBytesMax) return path;
    const fd = open(path, openFlag.path);
    this.#held.push(fd);
    return `/proc/self/fd/${fd}`;
  }

  /** As `check`, with what the file system wrote into the context's log. */
  #check(result: number | bigint, syscall: string, path: string): number {
    try {
      return check(result, syscall, path);
    } catch (error) {
      const log = this.#readLog();
      if (!(error instanceof SyscallError) || log === "") throw error;
      throw new SyscallError(syscall, error.errno, path, `${this.#type}: ${log}`);
    }
  }

  #readLog(): string {
    const messages: string[] = [];
    const buffer = zeroed(logMessageBytesMax);
    while (messages.length < logMessagesMax) {
      const length = Number(libc().read(this.#fd, buffer, buffer.length));
      if (length <= 0) break;
      // "e ", "w " or "i " for error, warning, information comes first.
      messages.push(buffer.toString("utf8", 0, length).trim().slice(2));
    }
    return messages.join("; ");
  }
}
