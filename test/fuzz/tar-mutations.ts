/**
 * Tars that are nearly right: good ones of every dialect with a few things changed. Half of the
 * changed headers get a right checksum again, so that what lies behind it is reached.
 *
 * @module
 */
import { checksum, paxHeader, type RawEntry, rawContent, rawTar } from "../support/tar/raw-tar.ts";
import { Picker } from "../support/picker.ts";
import { randomChain } from "../support/tar/random-layers.ts";

const blockBytes = 512;

const gnuMagic = "ustar  \0";
const sparseRuns = "00000000000\x0000000000003\0";

/** One entry of each kind that has a parser of its own. */
const dialects: readonly (RawEntry | Uint8Array)[] = [
  { name: "plain", content: "content".repeat(200), magic: "\0".repeat(8) },
  { name: "prefixed", prefix: "some/folder", content: "x" },
  { name: "////@LongLink", flag: "L", content: `${"long/".repeat(50)}\0`, magic: gnuMagic },
  { name: "short", content: "y".repeat(513), magic: gnuMagic },
  { name: "@LongLink", flag: "K", content: `${"target/".repeat(40)}\0`, magic: gnuMagic },
  { name: "link", flag: "2", linkName: "short", magic: gnuMagic },
  {
    name: "old-sparse",
    flag: "S",
    magic: gnuMagic,
    content: "abc",
    patches: [
      [386, sparseRuns],
      [483, "00000020000\0"],
    ],
  },
  paxHeader({ comment: "for all", mtime: "1.5" }, "g"),
  {
    name: "sparse-1.0",
    pax: { "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9000" },
    content: Buffer.concat([rawContent("2\n0\n3\n8000\n3\n"), Buffer.from("abcdef")]),
  },
  {
    name: "sparse-0.1",
    pax: { "GNU.sparse.map": "5,3", "GNU.sparse.numblocks": "1", "GNU.sparse.size": "99999" },
    content: "abc",
  },
  {
    name: "attributes",
    pax: { "SCHILY.xattr.user.a": "\0\xff", uid: "4000000000", path: "renamed", mtime: "-1.5" },
    content: "z",
  },
  { name: "device", flag: "3", device: [1, 3] },
  { name: "hard", flag: "1", linkName: "plain" },
  { name: "dir/.wh.gone" },
  { name: "dir/.wh..wh..opq" },
];

const headerFields = [0, 100, 108, 116, 124, 136, 156, 157, 257, 329, 337, 345, 386, 482, 483];
const fragments = ["/", "../", "\0", "9", "7777777", "\x80", "\xff\xff", "=", "\n", " ", ".wh."];

class Mutator {
  readonly #picker: Picker;

  constructor(seed: string) {
    this.#picker = new Picker(seed);
  }

  mutate(tar: Buffer): Buffer {
    let bytes: Buffer = Buffer.from(tar);
    const count = this.#picker.integer(5);
    for (let index = 0; index < count && bytes.length > 0; index++) bytes = this.#mutateOnce(bytes);
    return bytes;
  }

  #at(bytes: Buffer): number {
    return this.#picker.integer(bytes.length);
  }

  #block(bytes: Buffer): number {
    return this.#picker.integer(Math.ceil(bytes.length / blockBytes)) * blockBytes;
  }

  #mutateOnce(bytes: Buffer): Buffer {
    switch (this.#picker.integer(8)) {
      case 0:
        bytes[this.#at(bytes)]! ^= 1 << this.#picker.integer(8);
        return bytes;
      case 1:
        return bytes.subarray(0, this.#at(bytes));
      case 2: {
        const at = this.#block(bytes);
        const from = this.#block(bytes);
        const moved = bytes.subarray(from, from + blockBytes);
        return Buffer.concat([bytes.subarray(0, at), moved, bytes.subarray(at)]);
      }
      case 3: {
        const at = this.#block(bytes);
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + blockBytes)]);
      }
      case 4: {
        const at = this.#at(bytes);
        bytes.write(this.#picker.oneOf(fragments) ?? "", at, "latin1");
        return bytes;
      }
      default:
        return this.#mutateHeader(bytes);
    }
  }

  #mutateHeader(bytes: Buffer): Buffer {
    const start = this.#block(bytes);
    if (start + blockBytes > bytes.length) return bytes;
    const field = start + (this.#picker.oneOf(headerFields) ?? 0);
    const patch = this.#picker.oneOf(fragments) ?? "";
    bytes.write(patch, field + this.#picker.integer(4), "latin1");
    const block = bytes.subarray(start, start + blockBytes);
    bytes.write(`${checksum(block).toString(8).padStart(6, "0")}\0 `, start + 148, "latin1");
    return bytes;
  }
}

/** The same bytes for the same seed. */
export function mutatedTar(seed: string): Buffer {
  const picker = new Picker(`base ${seed}`);
  const base = picker.integer(2) === 0 ? rawTar(dialects) : randomChain(seed)[picker.integer(3)];
  return new Mutator(seed).mutate(base ?? rawTar(dialects));
}
