import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFlag } from "../../../ffi/constants.ts";
import { readDirectory } from "../../../ffi/directory.ts";
import { SyscallError } from "../../../ffi/errno.ts";
import {
  close,
  open,
  openAt,
  openDirectoryAt,
  openRegularAt,
  punchHole,
  readLinkAt,
  seekData,
  seekHole,
  startWriteback,
  tryLockExclusive,
} from "../../../ffi/file.ts";
import { makeNodeAt, setModificationTimeAt } from "../../../ffi/node.ts";
import { statAt, statOf } from "../../../ffi/status.ts";
import { byteString, byteStringOfText, bytesOf } from "../../../src/util/byte-string.ts";
import type { ByteString } from "../../../src/util/byte-string.ts";

const name = byteStringOfText;
let root = "";
let rootFd = -1;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "dedup-ffi-"));
  rootFd = open(root, openFlag.readOnly | openFlag.directory);
});

afterEach(() => {
  close(rootFd);
  rmSync(root, { recursive: true, force: true });
});

function failure(action: () => unknown): SyscallError {
  try {
    action();
  } catch (error) {
    if (error instanceof SyscallError) return error;
    throw error;
  }
  throw new Error("the call succeeded");
}

describe("openAt()", () => {
  test("opens a name that is not UTF-8", () => {
    const raw = byteString(new Uint8Array([0xff, 0x41, 0x80]));
    writeFileSync(Buffer.concat([Buffer.from(`${root}/`), bytesOf(raw)]), "content");
    const fd = openAt(rootFd, raw, openFlag.readOnly);
    expect(readFileSync(fd, "utf8")).toBe("content");
    close(fd);
  });

  test("does not follow a symlink", () => {
    symlinkSync("/etc", `${root}/link`);
    const error = failure(() => openAt(rootFd, name("link"), openFlag.readOnly));
    expect(error.errnoName).toBe("ELOOP");
    expect(failure(() => openDirectoryAt(rootFd, name("link"))).errnoName).toBe("ENOTDIR");
  });

  test("says which call failed on what", () => {
    const error = failure(() => openAt(rootFd, name("missing"), openFlag.readOnly));
    expect(error.message).toBe('Cannot openat "missing": ENOENT (No such file or directory)');
    expect(error).toMatchObject({ code: "not_found", syscall: "openat", errno: 2 });
  });

  test.each(["", "..", "a/b", "/etc", "a\0b"])("refuses %j as a name", (text) => {
    expect(() => openAt(rootFd, name(text), openFlag.readOnly)).toThrow("not a file name");
  });
});

describe("open()", () => {
  test("refuses a path with a NUL, which would be cut there", () => {
    expect(() => open(`${root}\0x`, openFlag.readOnly)).toThrow("NUL");
  });

  test("maps a missing file to not_found", () => {
    expect(failure(() => open(`${root}/x`, openFlag.readOnly)).code).toBe("not_found");
  });
});

describe("openRegularAt()", () => {
  test("gives the descriptor and the status of one and the same file", () => {
    writeFileSync(`${root}/file`, "12345");
    const file = openRegularAt(rootFd, name("file"));
    if (file === undefined) throw new Error("not opened");
    expect(file.status.sizeBytes).toBe(5);
    expect(readFileSync(file.fd, "utf8")).toBe("12345");
    close(file.fd);
  });

  test("opens neither devices nor FIFOs, symlinks or directories", () => {
    makeNodeAt(rootFd, name("device"), 0o020600, 1, 3);
    makeNodeAt(rootFd, name("fifo"), 0o010600);
    symlinkSync("/etc/passwd", `${root}/link`);
    mkdirSync(`${root}/directory`);
    for (const text of ["device", "fifo", "link", "directory"]) {
      expect(openRegularAt(rootFd, name(text))).toBeUndefined();
    }
  });
});

describe("statAt()", () => {
  test("agrees with stat(2)", () => {
    writeFileSync(`${root}/file`, "x".repeat(5000), { mode: 0o640 });
    const status = statAt(rootFd, name("file"));
    const stat = statSync(`${root}/file`, { bigint: true });
    expect(status).toMatchObject({
      mode: Number(stat.mode),
      linkCount: 1,
      uid: 0,
      gid: 0,
      inode: stat.ino,
      sizeBytes: 5000,
      blocks512: Number(stat.blocks),
      mtimeSeconds: Number(stat.mtimeNs / 1_000_000_000n),
      mtimeNanoseconds: Number(stat.mtimeNs % 1_000_000_000n),
    });
    expect(statOf(rootFd).inode).toBe(statSync(root, { bigint: true }).ino);
  });

  test("reads times before 1970 and sizes beyond 4 GiB", () => {
    writeFileSync(`${root}/file`, "");
    truncateSync(`${root}/file`, 5 * 2 ** 30 + 7);
    setModificationTimeAt(rootFd, name("file"), -5, 250);
    expect(statAt(rootFd, name("file"))).toMatchObject({
      sizeBytes: 5 * 2 ** 30 + 7,
      mtimeSeconds: -5,
      mtimeNanoseconds: 250,
    });
  });

  test("describes a symlink itself", () => {
    symlinkSync("nowhere", `${root}/link`);
    setModificationTimeAt(rootFd, name("link"), 77, 5);
    const status = statAt(rootFd, name("link"));
    expect(status.mode & 0o170000).toBe(0o120000);
    expect(status).toMatchObject({ mtimeSeconds: 77, mtimeNanoseconds: 5, sizeBytes: 7 });
  });

  test.each([
    [0, 0],
    [1, 3],
    [259, 70_000],
  ])("reads device numbers %d:%d back", (major, minor) => {
    makeNodeAt(rootFd, name("node"), 0o020644, major, minor);
    const status = statAt(rootFd, name("node"));
    expect(status).toMatchObject({ nodeMajor: major, nodeMinor: minor });
  });

  test("fails for a missing name", () => {
    expect(failure(() => statAt(rootFd, name("x"))).errnoName).toBe("ENOENT");
  });
});

describe("readDirectory()", () => {
  test("lists every name once, over many kernel calls, without . and ..", () => {
    const expected = new Set<ByteString>();
    for (let index = 0; index < 3000; index++) {
      const text = `${index}`.padEnd(index % 200, "n");
      writeFileSync(`${root}/${text}`, "");
      expected.add(name(text));
    }
    const entries = readDirectory(rootFd);
    expect(entries.length).toBe(3000);
    expect(new Set(entries.map((entry) => entry.name))).toEqual(expected);
    expect(entries.every((entry) => entry.type === 0o100000)).toBe(true);
  });

  test("tells types and keeps bytes", () => {
    mkdirSync(`${root}/directory`);
    symlinkSync("x", `${root}/link`);
    writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xc3, 0x28])]), "");
    const types = new Map(readDirectory(rootFd).map((entry) => [entry.name, entry.type]));
    expect(types).toEqual(
      new Map([
        [name("directory"), 0o040000],
        [name("link"), 0o120000],
        [byteString(new Uint8Array([0xc3, 0x28])), 0o100000],
      ]),
    );
  });
});

describe("readLinkAt()", () => {
  test("returns the target's bytes, also the longest", () => {
    const target = "t".repeat(4095);
    symlinkSync(target, `${root}/link`);
    expect(readLinkAt(rootFd, name("link"))).toBe(name(target));
  });
});

describe("punchHole(), seekData(), seekHole()", () => {
  test("find the data around a hole", () => {
    const fd = open(`${root}/file`, openFlag.readWrite | openFlag.create);
    const blockBytes = 64 * 1024;
    writeFileSync(fd, new Uint8Array(3 * blockBytes).fill(1));
    punchHole(fd, blockBytes, blockBytes);
    expect(seekHole(fd, 0)).toBe(blockBytes);
    expect(seekData(fd, blockBytes)).toBe(2 * blockBytes);
    expect(seekHole(fd, 2 * blockBytes)).toBe(3 * blockBytes);
    expect(seekData(fd, 3 * blockBytes)).toBeUndefined();
    expect(() => punchHole(fd, -1, 1)).toThrow("offset");
    close(fd);
  });
});

describe("startWriteback()", () => {
  test("takes a range of a file that can be written", () => {
    const fd = open(`${root}/file`, openFlag.readWrite | openFlag.create);
    writeFileSync(fd, new Uint8Array(64 * 1024).fill(1));
    startWriteback(fd, 4096, 8192);
    expect(failure(() => startWriteback(-1, 0, 4096)).errnoName).toBe("EBADF");
    expect(() => startWriteback(fd, -1, 1)).toThrow("offset");
    close(fd);
  });
});

describe("tryLockExclusive()", () => {
  test("gives the lock to one opening at a time", () => {
    writeFileSync(`${root}/lock`, "");
    const first = open(`${root}/lock`, openFlag.readOnly);
    const second = open(`${root}/lock`, openFlag.readOnly);
    expect(tryLockExclusive(first)).toBe(true);
    expect(tryLockExclusive(second)).toBe(false);
    close(first);
    expect(tryLockExclusive(second)).toBe(true);
    close(second);
  });
});
