/**
 * Byte offsets of the fields of a fixed binary structure, from one table in file order.
 *
 * The table is the only place where a width is written; offsets follow from it, and a table whose
 * widths do not add up to the size of the structure stops the program when its module loads (what
 * BUILD_BUG_ON does in C).
 *
 * @module
 */
import { assert } from "./assert.ts";

export type FieldTable = readonly (readonly [name: string, widthBytes: number])[];

export function fieldOffsets<const T extends FieldTable>(
  structure: string,
  sizeBytes: number,
  fields: T,
): Readonly<Record<T[number][0], number>> {
  const offsets: Record<string, number> = {};
  let offset = 0;
  for (const [name, widthBytes] of fields) {
    assert(!(name in offsets), `${structure}.${name} is named twice`);
    offsets[name] = offset;
    offset += widthBytes;
  }
  assert(offset === sizeBytes, `${structure} has ${offset} bytes, expected ${sizeBytes}`);
  return offsets as Record<T[number][0], number>;
}
