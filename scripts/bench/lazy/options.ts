/** What `npm run bench -- lazy` can be told. */
import { join } from "node:path";
import { projectFolder } from "../../lib/project.ts";
import type { FlagValues } from "../family/options.ts";
import { lazyImageNames } from "./images.ts";
import type { LazyContender } from "./node.ts";

export interface LazyOptions {
  readonly only: readonly string[];
  readonly peers: readonly LazyContender[];
  readonly rounds: number;
  readonly out: string;
}

const contenders: readonly LazyContender[] = [
  { name: "overlayfs", snapshotter: "overlayfs" },
  { name: "stargz", snapshotter: "stargz" },
  { name: "dedup fuse", snapshotter: "dedup", daemon: { lazyBackend: "fuse" } },
  {
    name: "dedup fanotify",
    snapshotter: "dedup",
    daemon: { lazyBackend: "fanotify" },
    trace: "exported",
  },
  {
    name: "dedup fanotify with trace",
    snapshotter: "dedup",
    daemon: { lazyBackend: "fanotify" },
    trace: "imported",
  },
];

/** Those of the list that are named; all for an empty text. Throws an error that names another. */
function choose<T>(text: string, all: readonly T[], nameOf: (item: T) => string): readonly T[] {
  if (text === "") return all;
  return text.split(",").map((name) => {
    const found = all.find((item) => nameOf(item) === name);
    if (found !== undefined) return found;
    throw new Error(`No "${name}"; there are: ${all.map(nameOf).join(", ")}`);
  });
}

export function readLazyOptions({ only, peers, rounds, out }: FlagValues): LazyOptions {
  if (!/^[1-9][0-9]?$/.test(rounds)) throw new Error(`--rounds is 1 to 99, not "${rounds}"`);
  return {
    only: choose(only, lazyImageNames, (name) => name),
    peers: choose(peers, contenders, ({ name }) => name),
    rounds: Number(rounds),
    out: out === "" ? join(projectFolder, "dist", "bench-lazy.json") : out,
  };
}
