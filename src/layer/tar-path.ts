/**
 * Paths in a tar, resolved inside the root of the layer as containerd does it (`fs.RootPath` of
 * containerd/continuity): a symlink on the way is followed, an absolute one from the root of the
 * layer, `..` at the root stays there, and what does not exist yet is no symlink.
 *
 * Nothing here touches a file system, so no path can lead out of anything.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { ByteString } from "../util/byte-string.ts";
import { linksPerPathMax, pathBytesMax } from "./tar-limits.ts";

/** What a resolver has to know of a tree. */
export interface PathTree<Node> {
  readonly root: Node;
  isDirectory(node: Node): boolean;
  /** Undefined where the node is no symlink. */
  linkTarget(node: Node): ByteString | undefined;
  child(directory: Node, name: ByteString): Node | undefined;
}

/** One step of a resolved path; the node is undefined where nothing is there. */
export interface PathStep<Node> {
  readonly name: ByteString;
  readonly node: Node | undefined;
}

/** The names of a path, as they are: `.`, `..` and nothing between slashes included. */
export function splitPath(path: ByteString): ByteString[] {
  return path.split("/") as ByteString[];
}

/** Lexically: `..` takes away the name before it; in front it stays or goes. */
export function cleanPath(path: ByteString, leadingParents: "keep" | "drop"): ByteString[] {
  const names: ByteString[] = [];
  for (const name of splitPath(path)) {
    if (name === "" || name === ".") continue;
    const last = names.at(-1);
    if (name !== "..") names.push(name);
    else if (last !== undefined && last !== "..") names.pop();
    else if (leadingParents === "keep") names.push(name);
  }
  return names;
}

export function joinNames(steps: readonly { readonly name: ByteString }[]): ByteString {
  return steps.map(({ name }) => name).join("/") as ByteString;
}

export function pathError(problem: string): AppError {
  return new AppError("invalid_argument", problem);
}

export class PathResolver<Node> {
  readonly #tree: PathTree<Node>;
  readonly #countSteps: (count: number) => void;

  /** @param countSteps is told of the names that are gone through; may throw */
  constructor(tree: PathTree<Node>, countSteps: (count: number) => void) {
    this.#tree = tree;
    this.#countSteps = countSteps;
  }

  /**
   * Follows the names from the root, a symlink at the end too.
   *
   * @returns the steps below the root: directories, then at most one of anything but a symlink,
   * then what is not there
   * @throws AppError `invalid_argument` for a way through a file, and beyond the limits
   */
  resolve(names: readonly ByteString[]): PathStep<Node>[] {
    const steps = this.tryResolve(names);
    if (steps === undefined) throw pathError("a part of the path is not a directory");
    return steps;
  }

  /**
   * As `resolve`; undefined for a way through a file.
   *
   * @param from what a path came to that the names continue; it stays as it is
   */
  tryResolve(
    names: readonly ByteString[],
    from: readonly PathStep<Node>[] = [],
  ): PathStep<Node>[] | undefined {
    const tree = this.#tree;
    const pending = names.toReversed();
    const steps = [...from];
    let links = 0;
    this.#countSteps(names.length);
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      if (name === "" || name === ".") continue;
      if (name === "..") {
        steps.pop();
        continue;
      }
      const last = steps.at(-1);
      const parent = last === undefined ? tree.root : last.node;
      if (parent !== undefined && !tree.isDirectory(parent)) return undefined;
      const node = parent === undefined ? undefined : tree.child(parent, name);
      const target = node === undefined ? undefined : tree.linkTarget(node);
      if (target === undefined) {
        steps.push({ name, node });
        continue;
      }
      links += 1;
      if (links > linksPerPathMax) throw pathError("too many symlinks in the path");
      const isAbsolute = target.startsWith("/");
      if (isAbsolute) steps.length = 0;
      const targetNames = splitPath(target);
      this.#countSteps(targetNames.length);
      // As containerd: lexically where it is relative, name by name where it is absolute.
      pending.push(...(isAbsolute ? targetNames : cleanPath(target, "keep")).reverse());
    }
    const sizeBytes = steps.reduce((sum, step) => sum + step.name.length + 1, 0);
    if (sizeBytes > pathBytesMax) throw pathError("the path is too long");
    return steps;
  }
}
