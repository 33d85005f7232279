/**
 * Whether containers of this node read what they should, as far as lazy layers go.
 *
 * @module
 */
import type { UnservedPack } from "../ondemand/contract.ts";
import type { DedupdView } from "./lazy-layers.ts";
import { describeSuspect, suspectViews, type SuspectView } from "./suspect-packs.ts";

/** `GET /readyz`; names as in the JSON. */
export interface Readiness {
  readonly ready: boolean;
  /** For people; empty where all is well. */
  readonly reasons: readonly string[];
  readonly suspects: readonly SuspectView[];
}

/**
 * @param dedupd undefined where it is away
 * @param mountedLayers lazy layers that are mounted; complete ones count, for a FUSE file needs who
 *   serves it as long as it is open
 */
export function readinessOf(dedupd: DedupdView | undefined, mountedLayers: number): Readiness {
  const suspects = dedupd ? suspectViews(dedupd.dedupd.suspects, dedupd.packs) : [];
  const reasons = suspects.map(describeSuspect);
  for (const pack of dedupd?.dedupd.unserved ?? []) reasons.push(describeUnserved(pack));
  if (dedupd === undefined && mountedLayers > 0) {
    reasons.push(`dedupd is away, and ${mountedLayers} lazy layers are mounted: their reads wait`);
  }
  return { ready: reasons.length === 0, reasons, suspects };
}

function describeUnserved({ packId, reason }: UnservedPack): string {
  return `lazy pack ${packId} cannot be exposed again, its reads wait or fail: ${reason}`;
}
