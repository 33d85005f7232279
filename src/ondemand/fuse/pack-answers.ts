/**
 * What the kernel is told of a pack itself, at once or when it is exposed.
 *
 * @module
 */
import { factsOf } from "./nodes.ts";
import type { PackRow } from "./pack-table.ts";
import { opcode } from "./protocol.ts";
import { encodeAttributes, encodeEntry, encodeOpen } from "./replies.ts";

export type PackOpcode = typeof opcode.lookup | typeof opcode.getAttributes | typeof opcode.open;

export function answerOfPack(asked: PackOpcode, row: PackRow): Uint8Array {
  if (asked === opcode.open) return encodeOpen();
  const facts = factsOf(row);
  return asked === opcode.lookup ? encodeEntry(facts) : encodeAttributes(facts);
}
