/** The process dedupd of a node. */
import { dirname } from "node:path";
import type { TestNode } from "../../../test/support/node.ts";
import { processesBelow } from "../../lib/leftovers.ts";

/** @throws Error where it does not run */
export function dedupdPid({ daemon }: TestNode): number {
  const all = processesBelow(dirname(daemon.root));
  const dedupd = all.find(({ commandLine }) => commandLine.endsWith(" dedupd"));
  if (dedupd === undefined) throw new Error("dedupd does not run");
  return dedupd.pid;
}
