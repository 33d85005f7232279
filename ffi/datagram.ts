/**
 * Datagrams to a Unix socket with descriptors in them (unix(7), SCM_RIGHTS), and pipes: what
 * systemd's notifications take.
 *
 * @module
 */
import { ptr } from "bun:ffi";
import { assert } from "../src/util/assert.ts";
import { openFlag, socketOption } from "./constants.ts";
import { check } from "./errno.ts";
import { close } from "./file.ts";
import { libc } from "./libc.ts";
import { zeroed } from "./memory.ts";
import { struct } from "./struct.ts";

/** `struct iovec`, include/uapi/linux/uio.h. */
const vector = struct(16, [
  ["base", "u64"],
  ["length", "u64"],
]);

/** `struct user_msghdr`, include/linux/socket.h. */
const message = struct(56, [
  ["name", "u64"],
  ["nameLength", "u32"],
  ["padding0", "bytes4"],
  ["vectors", "u64"],
  ["vectorCount", "u64"],
  ["control", "u64"],
  ["controlLength", "u64"],
  ["flags", "u32"],
  ["padding1", "bytes4"],
]);

/** `struct cmsghdr` with one descriptor, padded to 8 bytes. */
const rights = struct(24, [
  ["length", "u64"],
  ["level", "s32"],
  ["type", "s32"],
  ["fd", "s32"],
  ["padding", "bytes4"],
]);
/** Without the padding: CMSG_LEN(4). */
const rightsLength = 20n;

/**
 * Sends one datagram, with a duplicate of a descriptor if one is given.
 *
 * @param address a path, or a name in the abstract namespace after `@`
 */
export function sendDatagram(address: string, text: string, fd?: number): void {
  const { unixFamily, datagram, closeOnExec, noSignal } = socketOption;
  const socket = check(libc().socket(unixFamily, datagram | closeOnExec, 0), "socket", address);
  // The pointers are good as long as the buffers are referred to, which is to the end.
  const name = socketAddress(address);
  const content = buffer(Buffer.from(text));
  const vectors = vector.encode({ base: at(content), length: BigInt(content.length) });
  const control = fd === undefined ? undefined : encodeRights(fd);
  const header = message.encode({
    name: at(name),
    nameLength: name.length,
    vectors: at(vectors),
    vectorCount: 1n,
    ...(control && { control: at(control), controlLength: BigInt(control.length) }),
  });
  try {
    const sent = check(libc().sendmsg(socket, header, noSignal), "sendmsg", address);
    assert(sent === content.length, `a datagram of ${content.length} bytes was cut at ${sent}`);
  } finally {
    close(socket);
  }
}

function encodeRights(fd: number): Buffer {
  const { socketLevel, rights: type } = socketOption;
  return rights.encode({ length: rightsLength, level: socketLevel, type, fd });
}

/** `struct sockaddr_un`, as long as its path. */
function socketAddress(address: string): Buffer {
  const path = Buffer.from(address);
  assert(path.length < socketOption.pathBytesMax, `socket path "${address}" is too long`);
  const isAbstract = address.startsWith("@");
  if (isAbstract) path[0] = 0;
  // An abstract name is as long as it is said to be; a path ends with NUL.
  const name = zeroed(2 + path.length + (isAbstract ? 0 : 1));
  name.writeUInt16LE(socketOption.unixFamily, 0);
  path.copy(name, 2);
  return name;
}

function buffer(bytes: Uint8Array): Buffer {
  const own = zeroed(bytes.length);
  own.set(bytes);
  return own;
}

function at(bytes: Uint8Array): bigint {
  return BigInt(ptr(bytes));
}

export interface Pipe {
  /** A read of it fails with EAGAIN while there is nothing to read. */
  readonly readEnd: number;
  readonly writeEnd: number;
}

/** A pipe, both ends closed at exec, and neither of them ever waiting. */
export function openPipe(): Pipe {
  const ends = zeroed(8);
  check(libc().pipe2(ends, openFlag.closeOnExec | openFlag.nonBlocking), "pipe2", "a pipe");
  return { readEnd: ends.readInt32LE(0), writeEnd: ends.readInt32LE(4) };
}
