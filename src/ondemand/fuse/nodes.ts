/**
 * The names, nodes and attributes of the file system: one directory of packs.
 *
 * Nodes are numbered by packs, not in the order of their appearance, so a process that takes over
 * a mount knows what the kernel means by a number.
 *
 * @module
 */
import { fileType } from "../../erofs/tree.ts";
import { type NamedNode, type NodeFacts } from "./replies.ts";
import type { PackRow, PackTable } from "./pack-table.ts";
import { rootNode } from "./protocol.ts";

export const rootMode = fileType.directory | 0o500;
const fileMode = fileType.regular | 0o400;

export function nameOfPack(packId: number): string {
  return `${packId}.pack`;
}

export function packOfName(name: string): number | undefined {
  const digits = /^([1-9]\d{0,8})\.pack$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

export function nodeOfPack(packId: number): number {
  return packId + rootNode;
}

/** 0 for the root, which is no pack. */
export function packOfNode(node: number): number {
  return node - rootNode;
}

export const rootFacts: NodeFacts = {
  node: rootNode,
  generation: 0,
  mode: rootMode,
  sizeBytes: 0,
};

export function factsOf({ packId, generation, sizeBytes }: PackRow): NodeFacts {
  return { node: nodeOfPack(packId), generation, mode: fileMode, sizeBytes };
}

/** The entries of the root behind an offset, each with the offset of its successor. */
export function* entriesFrom(offset: number, packs: PackTable): Generator<NamedNode> {
  const directory = { node: rootNode, type: fileType.directory };
  if (offset < 1) yield { name: ".", nextOffset: 1, ...directory };
  if (offset < 2) yield { name: "..", nextOffset: 2, ...directory };
  for (const packId of packs.ids()) {
    const nextOffset = 2 + packId;
    if (nextOffset <= offset) continue;
    const name = nameOfPack(packId);
    yield { name, node: nodeOfPack(packId), type: fileType.regular, nextOffset };
  }
}
