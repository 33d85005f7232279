/**
 * Packed little-endian structures as field tables.
 *
 * One row per field in the order of the C structure, reserved fields and padding included; the sum
 * is compared with the size when the module loads (our BUILD_BUG_ON). Where a structure is decoded
 * a million times, the caller reads it with a `DataView` and takes the offsets from here.
 *
 * @module
 */
import { assert, defined } from "../src/util/assert.ts";
import { zeroed } from "./memory.ts";

export type FieldType = "u8" | "u16" | "u32" | "s32" | "u64" | "s64" | `bytes${number}`;

type FieldValue<T extends FieldType> = T extends "u64" | "s64"
  ? bigint
  : T extends `bytes${number}`
    ? Uint8Array
    : number;

type Field = readonly [name: string, type: FieldType];

export type StructValue<F extends readonly Field[]> = {
  [Row in F[number] as Row[0]]: FieldValue<Row[1]>;
};

export interface Struct<F extends readonly Field[]> {
  readonly sizeBytes: number;
  /** Byte offset of each field. */
  readonly offsets: Readonly<Record<F[number][0], number>>;
  /** A new buffer; fields that are not given are zero. */
  encode(value: Partial<StructValue<F>>): Buffer;
  /** Throws `AssertionError` if `bytes` is shorter than the structure. */
  decode(bytes: Uint8Array): StructValue<F>;
}

const scalarSizes = { u8: 1, u16: 2, u32: 4, s32: 4, u64: 8, s64: 8 } as const;

function sizeOf(type: FieldType): number {
  if (type in scalarSizes) return scalarSizes[type as keyof typeof scalarSizes];
  return Number(type.slice("bytes".length));
}

export function struct<const F extends readonly Field[]>(sizeBytes: number, fields: F): Struct<F> {
  const offsets: Record<string, number> = {};
  let end = 0;
  for (const [name, type] of fields) {
    assert(!(name in offsets), `field ${name} is declared twice`);
    offsets[name] = end;
    end += sizeOf(type);
  }
  assert(end === sizeBytes, `the fields take ${end} bytes, the structure ${sizeBytes}`);

  return {
    sizeBytes,
    offsets: offsets as Record<F[number][0], number>,
    encode(value) {
      const bytes = zeroed(sizeBytes);
      for (const [name, type] of fields) {
        const field = (value as Record<string, number | bigint | Uint8Array | undefined>)[name];
        if (field !== undefined) writeField(bytes, defined(offsets[name], name), type, field);
      }
      return bytes;
    },
    decode(bytes) {
      assert(bytes.length >= sizeBytes, `${bytes.length} bytes are too few for ${sizeBytes}`);
      const entries = fields.map(([name, type]) => [
        name,
        readField(bytes, defined(offsets[name], name), type),
      ]);
      return Object.fromEntries(entries) as StructValue<F>;
    },
  };
}

function writeField(
  bytes: Buffer,
  offset: number,
  type: FieldType,
  value: number | bigint | Uint8Array,
): void {
  const size = sizeOf(type);
  if (value instanceof Uint8Array) {
    assert(type.startsWith("bytes") && value.length <= size, `${value.length} bytes for ${type}`);
    bytes.set(value, offset);
  } else if (typeof value === "bigint") {
    assert(type === "u64" || type === "s64", `a bigint for ${type}`);
    if (type === "u64") bytes.writeBigUInt64LE(value, offset);
    else bytes.writeBigInt64LE(value, offset);
  } else {
    assert(size <= 4 && !type.startsWith("bytes"), `a number for ${type}`);
    if (type === "s32") bytes.writeInt32LE(value, offset);
    else bytes.writeUIntLE(value, offset, size);
  }
}

function readField(
  bytes: Uint8Array,
  offset: number,
  type: FieldType,
): number | bigint | Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (type) {
    case "u8":
      return view.getUint8(offset);
    case "u16":
      return view.getUint16(offset, true);
    case "u32":
      return view.getUint32(offset, true);
    case "s32":
      return view.getInt32(offset, true);
    case "u64":
      return view.getBigUint64(offset, true);
    case "s64":
      return view.getBigInt64(offset, true);
    default:
      return bytes.slice(offset, offset + sizeOf(type));
  }
}
