/**
 * What must hold of an inode before it is planned.
 *
 * Two kinds of breach: attributes out of the range of Linux, which may come from a layer
 * (`invalid_argument`), and content that contradicts itself, which only a broken program makes.
 *
 * @module
 */
import { assert, unreachable } from "../util/assert.ts";
import { isPowerOfTwo } from "../util/bytes.ts";
import { chunkCountOf, chunkedBlockBitsMax } from "./chunk-map.ts";
import { blockSizeBytes, nanosecondsMax, symlinkBytesMax } from "./format.ts";
import { deviceMajorMax, deviceMinorMax } from "./inode-record.ts";
import { fileType, type Inode, type RegularFile } from "./tree.ts";

const uint32Max = 0xffffffff;
const modeMax = 0o177777;
/** `s_maxbytes` and safe integers: the lesser. */
const fileSizeBytesMax = Number.MAX_SAFE_INTEGER;

/** What is wrong with the inode, or undefined. Asserts that its content fits its size. */
export function inodeProblem(inode: Inode): string | undefined {
  return attributeProblem(inode) ?? typeProblem(inode);
}

function attributeProblem(inode: Inode): string | undefined {
  const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds } = inode;
  if (!isInRange(mode, modeMax)) return `mode of ${mode}`;
  if (!isInRange(uid, uint32Max)) return `uid of ${uid}`;
  if (!isInRange(gid, uint32Max)) return `gid of ${gid}`;
  if (!Number.isSafeInteger(mtimeSeconds)) return `time of ${mtimeSeconds} s`;
  if (!isInRange(mtimeNanoseconds, nanosecondsMax)) return `time with ${mtimeNanoseconds} ns`;
  return undefined;
}

function typeProblem(inode: Inode): string | undefined {
  const type = inode.mode & fileType.mask;
  switch (inode.type) {
    case "file":
      checkContent(inode);
      return type === fileType.regular ? undefined : "the mode is not that of a file";
    case "directory":
      return type === fileType.directory ? undefined : "the mode is not that of a directory";
    case "symlink":
      if (inode.target.length === 0 || inode.target.length > symlinkBytesMax) {
        return `symlink target of ${inode.target.length} bytes`;
      }
      if (inode.target.includes("\0")) return "symlink target with NUL";
      return type === fileType.symlink ? undefined : "the mode is not that of a symlink";
    case "special":
      if (!isInRange(inode.deviceMajor, deviceMajorMax)) return `major of ${inode.deviceMajor}`;
      if (!isInRange(inode.deviceMinor, deviceMinorMax)) return `minor of ${inode.deviceMinor}`;
      return specialTypes.has(type) ? undefined : "the mode is not that of a special file";
    default:
      return unreachable(inode);
  }
}

const specialTypes: ReadonlySet<number> = new Set([
  fileType.characterDevice,
  fileType.blockDevice,
  fileType.fifo,
  fileType.socket,
]);

// The messages are constants: assertions run a million times, and a built message is garbage.
function checkContent({ content, sizeBytes }: RegularFile): void {
  assert(isInRange(sizeBytes, fileSizeBytesMax), "a file has a size");
  if (content.kind === "inline") {
    assert(content.bytes.length === sizeBytes, "inline content is as long as its file");
    return;
  }
  const blocksPerChunk = content.chunkSizeBytes / blockSizeBytes;
  assert(isPowerOfTwo(blocksPerChunk), "a chunk is a power of two of blocks");
  assert(blocksPerChunk <= 2 ** chunkedBlockBitsMax, "the format knows chunks that large");
  const expected = Math.ceil(sizeBytes / content.chunkSizeBytes);
  assert(sizeBytes === 0 || chunkCountOf(content) === expected, "chunks cover their file");
}

function isInRange(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}
