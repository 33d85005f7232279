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
import { joinNames, PathResolver } from "./tar-path.ts";

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
   */
  find(path: ByteString): LowerEntry | undefined;
}

/** The layers below, as long as nobody knows them. */
export const unknownLower: LowerTree = {
  find(): never {
    const problem = "the layer takes something from those below it, which are not known yet";
    throw new AppError("failed_precondition", problem);
  },
};

interface LowerNode {
  readonly path: ByteString;
  readonly entry: LowerEntry | undefined;
}

/** Finds in the layers below by paths with symlinks, and remembers whether it was asked. */
export class LowerLookup {
  /** Whether the layer would be another one on other layers. */
  wasAsked = false;
  readonly #tree: LowerTree | undefined;
  #resolver: PathResolver<LowerNode> | undefined;

  constructor(tree: LowerTree | undefined) {
    this.#tree = tree;
  }

  /** The directory of that path, symlinks followed; undefined for none. */
  findDirectory(names: readonly ByteString[]): LowerDirectory | undefined {
    const path = this.#resolve(names);
    const entry = path === undefined ? undefined : this.#tree?.find(path);
    return entry?.type === "directory" ? entry : undefined;
  }

  /** The file of that path, symlinks followed but in the last name; undefined for none. */
  findFile(names: readonly ByteString[], name: ByteString): LowerFile | undefined {
    const folder = this.#resolve(names);
    const path = folder === "" ? name : (`${folder}/${name}` as ByteString);
    const entry = folder === undefined ? undefined : this.#tree?.find(path);
    return entry?.type === "directory" ? undefined : entry;
  }

  #resolve(names: readonly ByteString[]): ByteString | undefined {
    this.wasAsked = true;
    if (this.#tree === undefined) return undefined;
    this.#resolver ??= resolverOf(this.#tree);
    const steps = this.#resolver.tryResolve(names);
    return steps === undefined ? undefined : joinNames(steps);
  }
}

function resolverOf(tree: LowerTree): PathResolver<LowerNode> {
  const rootPath = "" as ByteString;
  return new PathResolver<LowerNode>({
    root: { path: rootPath, entry: tree.find(rootPath) },
    isDirectory: ({ entry }) => entry?.type === "directory",
    linkTarget: ({ entry }) => (entry?.type === "symlink" ? entry.target : undefined),
    child: (parent, name) => {
      const path = (parent.path === "" ? name : `${parent.path}/${name}`) as ByteString;
      const entry = tree.find(path);
      return entry === undefined ? undefined : { path, entry };
    },
  });
}
