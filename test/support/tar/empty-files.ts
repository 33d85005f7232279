/** Many entries, made fast. */
import { checksum, rawHeader } from "./raw-tar.ts";

const headerBytes = 512;
const filesPerPiece = 1000;

/** Files `f0000000` and so on without an end mark: only digits and the checksum change. */
export function* emptyFiles(count: number): Generator<Buffer, void> {
  const zero = rawHeader({ name: "f0000000" });
  const sum = checksum(zero);
  const piece = Buffer.alloc(headerBytes * filesPerPiece);
  for (let index = 0; index < count; index += filesPerPiece) {
    for (let at = 0; at < filesPerPiece; at++) {
      const digits = String(index + at).padStart(7, "0");
      const digitSum = Array.from(digits).reduce((total, digit) => total + Number(digit), 0);
      zero.copy(piece, at * headerBytes);
      piece.write(digits, at * headerBytes + 1);
      piece.write((sum + digitSum).toString(8).padStart(6, "0"), at * headerBytes + 148);
    }
    yield piece;
  }
}
