/**
 * Columns: typed arrays that grow together, in the place of one object for each row.
 *
 * @module
 */

export type Column = Uint8Array | Uint16Array | Uint32Array | Float64Array;

/** Rows that columns begin with. */
export const columnRowsMin = 1024;

/** The same column with room for `rows`, new rows zero; the old one is of no use any more. */
export function grownColumn<Type extends Column>(column: Type, rows: number): Type {
  const make = column.constructor as new (buffer: ArrayBuffer) => Type;
  // Moves the memory where it can, and gives the old one back at once, not at a collection.
  return new make((column.buffer as ArrayBuffer).transfer(rows * column.BYTES_PER_ELEMENT));
}
