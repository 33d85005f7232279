/**
 * What the processes of a node have at a moment when nobody reads: the same as when they began, or
 * something leaks.
 *
 * @module
 */
import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { loopsBelow, mountsBelow } from "../lib/leftovers.ts";
import { openFiles, type TortureNode } from "./node.ts";

/** Runtimes start threads when they have work, and connections stay open for a while. */
const allowed: ReadonlyMap<string, number> = new Map([
  ["threads", 24],
  ["socket", 24],
  ["anon_inode", 8],
  // Stands for numbers that events may not have (src/ondemand/fanotify/descriptors.ts).
  ["fanotify.journal", 16],
]);

/**
 * Traces, and what is written when a pack is synced; `.new` by one who was killed over that, until
 * the next time.
 */
const comesLater = /^packs\/\d+\.synced(?:\.new)?$|^traces(?:\/.*\.trace(?:\.new)?)?$/;

/** How many there are, by what they are. */
export type Census = ReadonlyMap<string, number>;

export async function takeCensus(node: TortureNode, folder: string): Promise<Census> {
  const processes = {
    serve: node.servePid,
    keeper: await node.settled(),
    dedupd: (await node.dedupd()).pid,
  };
  const counts = new Map<string, number>();
  const count = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1);
  for (const [name, pid] of Object.entries(processes)) {
    for (const target of openFiles(pid)) {
      const kind = kindOf(target, node.root);
      if (kind !== undefined) count(`${name}: ${kind}`);
    }
    for (const _thread of readdirSync(`/proc/${pid}/task`)) count(`${name}: threads`);
  }
  for (const path of mountsBelow(folder)) count(`mount ${path}`);
  for (const device of loopsBelow(folder)) count(`loop device ${device}`);
  for (const name of readdirSync(node.root, { recursive: true, encoding: "utf8" }))
    if (!comesLater.test(name)) count(`file ${name}`);
  return counts;
}

/** What there is more of than there was, beyond what comes and goes. */
export function growth(before: Census, after: Census): string[] {
  return [...after].flatMap(([what, count]) => {
    const was = before.get(what) ?? 0;
    const more = allowed.get(what.slice(what.lastIndexOf(" ") + 1)) ?? 0;
    return count > was + more ? [`${what}: ${was} became ${count}`] : [];
  });
}

/** Undefined for descriptors of processes, which the runtime keeps until it collects garbage. */
function kindOf(target: string, root: string): string | undefined {
  if (target === "anon_inode:[pidfd]" || target.startsWith("pidfd:")) return undefined;
  if (target.startsWith(root)) return `open ${basename(target)}`;
  return target.split(":")[0];
}
