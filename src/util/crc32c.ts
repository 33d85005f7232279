/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), the checksum of EROFS superblocks.
 *
 * The bare register goes in and out: `lib/crc32c.c` of Linux neither inverts the start value nor
 * the result, and EROFS starts with all ones and stores the register as it is.
 *
 * @module
 */
const polynomial = 0x82f63b78;

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let register = byte;
  for (let bit = 0; bit < 8; bit++) {
    register = (register >>> 1) ^ (register & 1 ? polynomial : 0);
  }
  return register;
});

/** The register after `bytes`, given the register before them; unsigned 32 bits. */
export function crc32c(register: number, bytes: Uint8Array): number {
  let current = register;
  for (const byte of bytes) current = (current >>> 8) ^ table[(current ^ byte) & 0xff]!;
  return current >>> 0;
}
