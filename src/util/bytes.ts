/** Sizes and alignment. */

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
export const TiB = 1024 * GiB;

/** The least multiple of `alignment` that is not below `value`; any safe integer. */
export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && Number.isInteger(Math.log2(value));
}

const unitSizes = [
  ["GiB", GiB],
  ["MiB", MiB],
  ["KiB", KiB],
] as const;

/** A size for people: three digits and a binary unit. */
export function formatSize(sizeBytes: number): string {
  for (const [unit, unitBytes] of unitSizes) {
    if (Math.abs(sizeBytes) >= unitBytes)
      return `${(sizeBytes / unitBytes).toPrecision(3)} ${unit}`;
  }
  return `${sizeBytes} B`;
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
