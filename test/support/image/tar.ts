/**
 * A writer of OCI layer tars (PAX, IEEE 1003.1-2017 "pax Interchange Format").
 *
 * Independent of the product's reader and as strict as it can be: extended attributes are raw bytes
 * in `SCHILY.xattr.` records, and everything the 512-byte header cannot hold gets a record.
 *
 * @module
 */
import { type ByteString, byteStringOfText, bytesOf } from "../../../src/util/byte-string.ts";
import { alignUp } from "../../../src/util/bytes.ts";
import type { Attributes, Layer, LayerEntry } from "./layer.ts";

const blockBytes = 512;
const headerNameBytesMax = 100;
/** Seven and eleven octal digits, the rest of the field is NUL. */
const smallFieldMax = 0o7777777;
const largeFieldMax = 0o77777777777;

const typeFlags = {
  file: "0",
  "hard link": "1",
  symlink: "2",
  "character device": "3",
  "block device": "4",
  directory: "5",
  fifo: "6",
} as const;

interface Header {
  readonly name: ByteString;
  readonly flag: string;
  readonly link?: ByteString;
  readonly size?: number;
  readonly attributes?: Attributes;
  readonly device?: readonly [number, number];
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}

function secondsOf(mtimeNs: bigint): number {
  return Number(mtimeNs / 1_000_000_000n);
}

function encodeHeader(header: Header): Buffer {
  const { attributes, device = [0, 0], link = "", size = 0 } = header;
  const mtime = attributes === undefined ? 0 : secondsOf(attributes.mtimeNs);
  const block = Buffer.alloc(blockBytes);
  block.write(header.name.slice(0, headerNameBytesMax), 0, "latin1");
  block.write(octal(attributes?.mode ?? 0o644, 7), 100, "latin1");
  block.write(octal(Math.min(attributes?.uid ?? 0, smallFieldMax), 7), 108, "latin1");
  block.write(octal(Math.min(attributes?.gid ?? 0, smallFieldMax), 7), 116, "latin1");
  block.write(octal(size, 11), 124, "latin1");
  block.write(octal(Math.min(Math.max(mtime, 0), largeFieldMax), 11), 136, "latin1");
  block.write(" ".repeat(8), 148, "latin1");
  block.write(header.flag, 156, "latin1");
  block.write(link.slice(0, headerNameBytesMax), 157, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  block.write(octal(device[0], 7), 329, "latin1");
  block.write(octal(device[1], 7), 337, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\0 `, 148, "latin1");
  return block;
}

/** Seconds with as many decimals as are needed; the sign stands for the whole number. */
function paxTime(mtimeNs: bigint): string {
  const sign = mtimeNs < 0n ? "-" : "";
  const distance = mtimeNs < 0n ? -mtimeNs : mtimeNs;
  const fraction = (distance % 1_000_000_000n).toString().padStart(9, "0").replace(/0+$/, "");
  return `${sign}${distance / 1_000_000_000n}${fraction === "" ? "" : `.${fraction}`}`;
}

/** `"<length> <key>=<value>\n"`, where the length counts its own digits. */
function paxRecord(key: string, value: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from("\n")]);
  let length = body.length + 1;
  while (String(length).length + body.length !== length) {
    length = String(length).length + body.length;
  }
  return Buffer.concat([Buffer.from(String(length)), body]);
}

/** ASCII that fits goes to the header, and so do bytes that are no text at all. */
function needsRecord(value: ByteString): boolean {
  if (value.length > headerNameBytesMax) return true;
  const bytes = bytesOf(value);
  const isText = Buffer.from(bytes.toString("utf8")).equals(bytes);
  return isText && bytes.some((byte) => byte > 0x7f);
}

function paxRecords(header: Header): Buffer[] {
  const records: Buffer[] = [];
  const text = (key: string, value: string) => records.push(paxRecord(key, Buffer.from(value)));
  if (needsRecord(header.name)) records.push(paxRecord("path", bytesOf(header.name)));
  const { link, attributes } = header;
  if (link !== undefined && needsRecord(link)) records.push(paxRecord("linkpath", bytesOf(link)));
  if (attributes === undefined) return records;
  if (attributes.uid > smallFieldMax) text("uid", String(attributes.uid));
  if (attributes.gid > smallFieldMax) text("gid", String(attributes.gid));
  text("mtime", paxTime(attributes.mtimeNs));
  for (const [name, value] of Object.entries(attributes.xattrs)) {
    records.push(paxRecord(`SCHILY.xattr.${name}`, value));
  }
  return records;
}

function padded(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(alignUp(bytes.length, blockBytes));
  result.set(bytes);
  return result;
}

/** A whiteout is an empty file whose name says what it hides (OCI image spec, layer.md). */
function whiteoutName(entry: LayerEntry): ByteString {
  if (entry.type === "opaque") return `${entry.path}/.wh..wh..opq` as ByteString;
  const slash = entry.path.lastIndexOf("/") + 1;
  return `${entry.path.slice(0, slash)}.wh.${entry.path.slice(slash)}` as ByteString;
}

function headerOf(entry: LayerEntry, linked: Attributes | undefined): Header {
  switch (entry.type) {
    case "whiteout":
    case "opaque":
      return { name: whiteoutName(entry), flag: typeFlags.file };
    case "hard link":
      return {
        name: entry.path,
        flag: typeFlags["hard link"],
        link: entry.target,
        ...(linked === undefined ? {} : { attributes: linked }),
      };
    case "directory":
      return {
        name: `${entry.path === "" ? "." : entry.path}/` as ByteString,
        flag: typeFlags.directory,
        attributes: entry,
      };
    case "file":
      return {
        name: entry.path,
        flag: typeFlags.file,
        size: entry.content.length,
        attributes: entry,
      };
    case "symlink":
      return { name: entry.path, flag: typeFlags.symlink, link: entry.target, attributes: entry };
    case "fifo":
      return { name: entry.path, flag: typeFlags.fifo, attributes: entry };
    default:
      return {
        name: entry.path,
        flag: typeFlags[entry.type],
        attributes: entry,
        device: [entry.major, entry.minor],
      };
  }
}

function encodeEntry(entry: LayerEntry, linked: Attributes | undefined): Uint8Array[] {
  const header = headerOf(entry, linked);
  const records = Buffer.concat(paxRecords(header));
  const parts: Uint8Array[] = [];
  if (records.length > 0) {
    const name = byteStringOfText("PaxHeaders/entry");
    parts.push(encodeHeader({ name, flag: "x", size: records.length }), padded(records));
  }
  parts.push(encodeHeader(header));
  if (entry.type === "file") parts.push(padded(entry.content));
  return parts;
}

/**
 * The attributes of a hard link's target. GNU tar and Go repeat them in the link's header, and
 * unpacking applies them to the file once more.
 */
function linkedAttributes(layer: Layer, entry: LayerEntry): Attributes | undefined {
  if (entry.type !== "hard link") return undefined;
  const target = layer.find(({ path }) => path === entry.target);
  if (target === undefined || !("mtimeNs" in target)) {
    throw new Error(`a hard link to "${entry.target}", which is not in the layer`);
  }
  return target;
}

/** The tar of a layer piece by piece, entries in the order given. */
export function* tarParts(layer: Layer): Generator<Uint8Array> {
  for (const entry of layer) yield* encodeEntry(entry, linkedAttributes(layer, entry));
  // Two blocks of zeros end an archive.
  yield new Uint8Array(2 * blockBytes);
}

/** The tar of a layer, entries in the order given. */
export function writeTar(layer: Layer): Buffer {
  return Buffer.concat([...tarParts(layer)]);
}
