/**
 * Times of access and change in a tar's headers. No layer needs them, but containers/storage
 * compares a table of contents with them.
 *
 * @module
 */
import { blockBytes, gnuField, longNumberBytes, starField, typeFlag } from "../../tar/format.ts";
import { decodeHeader, type Dialect } from "../../tar/header.ts";
import { readNumber } from "../../tar/numbers.ts";
import { parsePaxRecords, parsePaxTime, type PaxTime } from "../../tar/pax.ts";
import { byteStringOfText } from "../../util/byte-string.ts";
import { alignUp } from "../../util/bytes.ts";

export interface ExtraTimes {
  readonly access: PaxTime | undefined;
  readonly change: PaxTime | undefined;
}

const accessKey = byteStringOfText("atime");
const changeKey = byteStringOfText("ctime");

/** Where the dialects that have such times in the header itself have them. */
const fields: Readonly<Partial<Record<Dialect, { access: number; change: number }>>> = {
  gnu: { access: gnuField.accessTime, change: gnuField.changeTime },
  star: { access: starField.accessTime, change: starField.changeTime },
};

/** @param headers all of one entry, from the first block of them on; they were parsed before */
export function readExtraTimes(headers: Buffer): ExtraTimes {
  let records: ReadonlyMap<string, string> = new Map();
  for (let at = 0; at < headers.length;) {
    const block = headers.subarray(at, at + blockBytes);
    const header = decodeHeader(block, at);
    at += blockBytes;
    const isMeta = header.flag === typeFlag.paxLocal || isLongName(header.flag);
    if (isMeta) {
      const content = headers.subarray(at, at + header.sizeBytes);
      if (header.flag === typeFlag.paxLocal) records = parsePaxRecords(content, at);
      at += alignUp(header.sizeBytes, blockBytes);
      continue;
    }
    const own = fields[header.dialect];
    return {
      access: timeOf(records.get(accessKey), block, own?.access),
      change: timeOf(records.get(changeKey), block, own?.change),
    };
  }
  return { access: undefined, change: undefined };
}

function isLongName(flag: string): boolean {
  return flag === typeFlag.gnuLongName || flag === typeFlag.gnuLongLink;
}

function timeOf(record: string | undefined, block: Buffer, field: number | undefined) {
  if (record !== undefined) return parsePaxTime(record);
  if (field === undefined || block[field] === 0) return undefined;
  const seconds = readNumber(block, field, longNumberBytes);
  return seconds === undefined || seconds === 0 ? undefined : { seconds, nanoseconds: 0 };
}
