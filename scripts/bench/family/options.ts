/** What `npm run bench -- family` can be told. */
import { join } from "node:path";
import { projectFolder } from "../../lib/project.ts";
import { type Contender, contenders } from "./contenders.ts";
import { type ImageSet, imageSets } from "../images/recipes.ts";

export interface FamilyOptions {
  readonly set: ImageSet;
  /** Images of the set, in its order; empty for all. */
  readonly only: readonly string[];
  /** Who is compared. */
  readonly peers: readonly Contender[];
  readonly rounds: number;
  /** Where the results go, as JSON; the tables go beside, as Markdown. */
  readonly out: string;
}

const outDefault = join(projectFolder, "dist", "bench-family.json");

/** For `parseArgs`; empty for all, or the usual. */
export const familyFlags = {
  set: { type: "string", default: "full" },
  only: { type: "string", default: "" },
  peers: { type: "string", default: "" },
  rounds: { type: "string", default: "3" },
  out: { type: "string", default: "" },
} as const;

export type FlagValues = Readonly<Record<keyof typeof familyFlags, string>>;

function isImageSet(name: string): name is ImageSet {
  return Object.hasOwn(imageSets, name);
}

/** Throws an error that names what is wrong. */
export function readFamilyOptions({ set, only, peers, rounds, out }: FlagValues): FamilyOptions {
  if (!isImageSet(set)) {
    throw new Error(`--set is ${Object.keys(imageSets).join(" or ")}, not "${set}"`);
  }
  const known = imageSets[set].map(({ name }) => name);
  const names = only.split(",").filter((name) => name !== "");
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new Error(`No image "${unknown}"; there are: ${known.join(", ")}`);
  if (!/^[1-9][0-9]?$/.test(rounds)) throw new Error(`--rounds is 1 to 99, not "${rounds}"`);
  return {
    set,
    only: names,
    peers: readPeers(peers),
    rounds: Number(rounds),
    out: out === "" ? outDefault : out,
  };
}

function readPeers(text: string): readonly Contender[] {
  if (text === "") return contenders;
  return text.split(",").map((peer) => {
    const found = contenders.find(({ name }) => name === peer);
    if (found !== undefined) return found;
    const names = contenders.map(({ name }) => name).join(", ");
    throw new Error(`No peer "${peer}"; there are: ${names}`);
  });
}
