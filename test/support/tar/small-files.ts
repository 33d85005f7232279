/**
 * A tar of many small files, made fast and in pieces: a million of them do not fit in memory.
 *
 * @module
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { KiB, MiB } from "../../../src/util/bytes.ts";
import { randomBytes } from "../random.ts";
import { rawHeader } from "./raw-tar.ts";

const filesPerFolder = 100;
const blockBytes = 512;
const sizeBytesMin = KiB;
const sizeBytesMax = 3 * KiB;
const pieceBytes = 4 * MiB;

/** Files of 1 to 3 KiB, all different, half of which compression saves, in folders of a hundred. */
export function writeSmallFilesTar(path: string, count: number): void {
  const text = Buffer.from(randomBytes("small files", 4 * MiB).toString("hex"), "latin1");
  const numbers = randomBytes("sizes", 4 * MiB);
  const file = openSync(path, "wx");
  const pieces: Buffer[] = [];
  let gatheredBytes = 0;
  const add = (piece: Buffer): void => {
    pieces.push(piece);
    gatheredBytes += piece.length;
    if (gatheredBytes < pieceBytes) return;
    writeSync(file, Buffer.concat(pieces));
    pieces.length = 0;
    gatheredBytes = 0;
  };
  for (let number = 0; number < count; number++) {
    const folder = `folder-${Math.floor(number / filesPerFolder)}`;
    if (number % filesPerFolder === 0) add(rawHeader({ name: folder, flag: "5", mode: 0o755 }));
    const random = numbers.readUInt32LE((4 * number) % numbers.length);
    const sizeBytes = sizeBytesMin + (random % (sizeBytesMax - sizeBytesMin));
    const content = Buffer.alloc(Math.ceil(sizeBytes / blockBytes) * blockBytes);
    content.write(`${number} `, "latin1");
    const start = random % (text.length - sizeBytesMax);
    content.set(text.subarray(start, start + sizeBytes - 10), 10);
    add(rawHeader({ name: `${folder}/file-${number}.js`, sizeBytes }));
    add(content);
  }
  writeSync(file, Buffer.concat([...pieces, Buffer.alloc(2 * blockBytes)]));
  closeSync(file);
}
