/**
 * Gives memory back now that a garbage collection would find only after it has grown to a lot: the
 * collector counts objects, and large buffers are small objects to it.
 *
 * @module
 */

/**
 * To be called by whoever has the bytes alone; they are empty afterwards. Bytes that are a part of
 * something larger stay as they are.
 */
export function freeBytes(bytes: Uint8Array): void {
  const { buffer } = bytes;
  // To a buffer of no size: that frees the old one (ECMA-262, ArrayBufferCopyAndDetach).
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength) buffer.transfer(0);
}
