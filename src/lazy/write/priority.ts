/**
 * Which entries of a tar can go first without making it another tree.
 *
 * An entry takes along what has to be there before it: its directories, and the file a hard link
 * leads to. It stays where it is if something else of the layer has a say in what its path means: a
 * symlink on the way, a second entry of that name, a whiteout.
 *
 * @module
 */
import { displayName, type ByteString } from "../../util/byte-string.ts";
import type { TarItem } from "./tar-items.ts";

const whiteoutPrefix = ".wh.";
/** Hard links to hard links; archivers write links to the first name of a file. */
const linksMax = 64;

export interface PriorityOrder {
  readonly first: readonly TarItem[];
  readonly others: readonly TarItem[];
  /** Of the wanted paths, those the layer has, moved or not. */
  readonly found: ReadonlySet<string>;
}

/** A path without slashes at its ends, `.` and empty names. */
export function cleanName(path: string): string {
  const names = path.split("/");
  return names.filter((name) => name !== "" && name !== ".").join("/");
}

/** @param wanted clean paths, the most urgent first */
export function orderByPriority(
  items: readonly TarItem[],
  wanted: readonly string[],
): PriorityOrder {
  return new PriorityPlanner(items).order(wanted);
}

class PriorityPlanner {
  readonly #items: readonly TarItem[];
  /** Undefined for a name that more than one entry has a say in. */
  readonly #byName = new Map<string, TarItem | undefined>();

  constructor(items: readonly TarItem[]) {
    this.#items = items;
    for (const item of items) {
      if (item.entry.type === "global records") continue;
      const name = textOf(item.entry.name);
      this.#byName.set(name, this.#byName.has(name) ? undefined : item);
    }
    for (const name of this.#byName.keys()) {
      const hidden = hiddenBy(name);
      if (hidden !== undefined && this.#byName.has(hidden)) this.#byName.set(hidden, undefined);
    }
  }

  order(wanted: readonly string[]): PriorityOrder {
    const first = new Set<TarItem>();
    for (const path of wanted) {
      for (const item of this.#needed(path, new Set()) ?? []) first.add(item);
    }
    return {
      first: [...first],
      others: this.#items.filter((item) => !first.has(item)),
      found: new Set(wanted.filter((path) => this.#byName.has(path))),
    };
  }

  /** The entry of a path behind all that it needs; undefined where it cannot be moved. */
  #needed(path: string, links: Set<string>): TarItem[] | undefined {
    const names = path.split("/");
    const needed: TarItem[] = [];
    for (let depth = 1; depth < names.length; depth++) {
      const parent = names.slice(0, depth).join("/");
      // A directory that no entry describes is made for whoever comes first.
      if (!this.#byName.has(parent)) continue;
      const item = this.#byName.get(parent);
      if (item?.entry.type !== "directory") return undefined;
      needed.push(item);
    }
    const item = this.#byName.get(path);
    if (item === undefined || hiddenBy(path) !== undefined) return undefined;
    if (item.entry.type === "hard link") {
      const target = textOf(item.entry.linkName);
      if (links.has(target) || links.size >= linksMax) return undefined;
      const source = this.#needed(target, links.add(target));
      if (source === undefined) return undefined;
      needed.push(...source);
    }
    return [...needed, item];
  }
}

function textOf(name: ByteString): string {
  return cleanName(displayName(name));
}

/** The name that a whiteout takes away; undefined for an ordinary name. */
function hiddenBy(name: string): string | undefined {
  const slash = name.lastIndexOf("/") + 1;
  if (!name.startsWith(whiteoutPrefix, slash)) return undefined;
  return name.slice(0, slash) + name.slice(slash + whiteoutPrefix.length);
}
