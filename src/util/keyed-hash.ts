/**
 * A keyed hash of byte strings that others choose: with a key nobody knows, nobody can choose names
 * that meet in one place of a hash table.
 *
 * HalfSipHash-1-3, the one of 32-bit words (Aumasson and Bernstein, "SipHash: a fast short-input
 * PRF"; lib/siphash.c of Linux), with a key for each process.
 *
 * @module
 */

const finalRounds = 3;
const numberBytes = 4;
const key = crypto.getRandomValues(new Int32Array(2));
/** `v0` to `v3`. One for the thread, because a call for each name should make no garbage. */
const state = new Int32Array(4);

/** 32 bits of a number of 32 bits and a byte string behind it. */
export function keyedHash(number: number, text: string): number {
  state[0] = key[0]!;
  state[1] = key[1]!;
  state[2] = 0x6c796765 ^ key[0]!;
  state[3] = 0x74656462 ^ key[1]!;
  compress(number);
  let at = 0;
  for (; at + 4 <= text.length; at += 4) compress(wordAt(text, at));
  let last = (numberBytes + text.length) << 24;
  for (let shift = 0; at < text.length; at++, shift += 8) last |= text.charCodeAt(at) << shift;
  compress(last);
  state[2] ^= 0xff;
  for (let round = 0; round < finalRounds; round++) mix();
  return (state[1] ^ state[3]) >>> 0;
}

function wordAt(text: string, at: number): number {
  return (
    text.charCodeAt(at) |
    (text.charCodeAt(at + 1) << 8) |
    (text.charCodeAt(at + 2) << 16) |
    (text.charCodeAt(at + 3) << 24)
  );
}

function compress(word: number): void {
  state[3]! ^= word;
  mix();
  state[0]! ^= word;
}

function mix(): void {
  let v0 = state[0]!;
  let v1 = state[1]!;
  let v2 = state[2]!;
  let v3 = state[3]!;
  v0 = (v0 + v1) | 0;
  v1 = rotate(v1, 5) ^ v0;
  v0 = rotate(v0, 16);
  v2 = (v2 + v3) | 0;
  v3 = rotate(v3, 8) ^ v2;
  v0 = (v0 + v3) | 0;
  v3 = rotate(v3, 7) ^ v0;
  v2 = (v2 + v1) | 0;
  v1 = rotate(v1, 13) ^ v2;
  v2 = rotate(v2, 16);
  state[0] = v0;
  state[1] = v1;
  state[2] = v2;
  state[3] = v3;
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
