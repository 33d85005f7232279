/**
 * What a layer's tar may need of the layers below: the attributes of a directory it does not list,
 * and the file a hard link leads to.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { Xattr } from "../erofs/tree.ts";
import type { ByteString } from "../util/byte-string.ts";
import type { ContentSource } from "./file-content.ts";
import type { TarBudget } from "./tar-limits.ts";
import { joinNames, PathResolver, type PathStep, type PathTree } from "./tar-path.ts";

const noPath = "" as ByteString;

interface LowerAttributes {
  /** Type and permission bits, as `st_mode`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly xattrs: readonly Xattr[];
}

export type LowerDirectory = LowerAttributes & { readonly type: "directory" };

/** A file that a hard link can lead to. */
export type LowerFile = LowerAttributes &
  (
    | { readonly type: "file"; readonly sizeBytes: number; readonly content: ContentSource }
    | { readonly type: "symlink"; readonly target: ByteString }
    | { readonly type: "special"; readonly deviceMajor: number; readonly deviceMinor: number }
  );

export type LowerEntry = LowerDirectory | LowerFile;

/** The layers below as one tree, as overlayfs shows them. */
export interface LowerTree {
  /**
   * Follows no symlinks; the root is the empty path, names are joined by slashes. Undefined for
   * what is not there, or deleted by a layer between.
   *
   * @param countSteps is told of the names that are looked up on the way; may throw
   */
  find(path: ByteString, countSteps: (count: number) => void): LowerEntry | undefined;
}

/** The layers below, as long as nobody knows them. */
export const unknownLower: LowerTree = {
  find(): never {
    const problem = "the layer takes something from those below it, which are not known yet";
    throw new AppError("failed_precondition", problem);
  },
};

/** A path that was resolved, for those that continue it: directories come one below the other. */
interface Resolved {
  readonly names: readonly ByteString[];
  readonly steps: readonly PathStep<LowerNode>[];
}

interface LowerNode {
  readonly path: ByteString;
  readonly entry: LowerEntry | undefined;
}

/** Finds in the layers below by paths with symlinks, and remembers whether it was asked. */
export class LowerLookup {
  /** Whether the layer would be another one on other layers. */
  wasAsked = false;
  readonly #tree: LowerTree | undefined;
  readonly #budget: TarBudget;
  #resolver: PathResolver<LowerNode> | undefined;
  #last: Resolved = { names: [], steps: [] };

  constructor(tree: LowerTree | undefined, budget: TarBudget) {
    this.#tree = tree;
    this.#budget = budget;
  }

  /** The directory of that path, symlinks followed; undefined for none. */
  findDirectory(names: readonly ByteString[]): LowerDirectory | undefined {
    const steps = this.#resolve(names);
    const last = steps?.at(-1);
    const entry = steps?.length === 0 ? this.#find(noPath) : last?.node?.entry;
    return entry?.type === "directory" ? entry : undefined;
  }

  /** The file of that path, symlinks followed but in the last name; undefined for none. */
  findFile(names: readonly ByteString[], name: ByteString): LowerFile | undefined {
    const steps = this.#resolve(names);
    const folder = steps && joinNames(steps);
    const path = folder === "" ? name : (`${folder}/${name}` as ByteString);
    const entry = folder === undefined ? undefined : this.#find(path);
    return entry?.type === "directory" ? undefined : entry;
  }

  #resolve(names: readonly ByteString[]): readonly PathStep<LowerNode>[] | undefined {
    this.wasAsked = true;
    if (this.#tree === undefined) return undefined;
    this.#resolver ??= this.#makeResolver();
    const last = this.#last;
    const continues = last.names.every((name, index) => name === names[index]);
    const steps = continues
      ? this.#resolver.tryResolve(names.slice(last.names.length), last.steps)
      : this.#resolver.tryResolve(names);
    if (steps !== undefined) this.#last = { names, steps };
    return steps;
  }

  #find(path: ByteString): LowerEntry | undefined {
    return this.#tree?.find(path, (count) => this.#budget.charge("lowerSteps", count));
  }

  #makeResolver(): PathResolver<LowerNode> {
    const tree: PathTree<LowerNode> = {
      root: { path: noPath, entry: this.#find(noPath) },
      isDirectory: ({ entry }) => entry?.type === "directory",
      linkTarget: ({ entry }) => (entry?.type === "symlink" ? entry.target : undefined),
      child: (parent, name) => {
        const path = (parent.path === "" ? name : `${parent.path}/${name}`) as ByteString;
        const entry = this.#find(path);
        return entry === undefined ? undefined : { path, entry };
      },
    };
    return new PathResolver(tree, (count) => this.#budget.charge("steps", count));
  }
}
