/** Equal xattr lists of a layer as one shared array: most files of a layer have the same few. */
import { noXattrs, type Xattr } from "../erofs/tree.ts";
import { byteString } from "../util/byte-string.ts";

/**
 * What overlayfs notes for itself in an upper directory and what means nothing in a lower one
 * (fs/overlayfs/overlayfs.h, OVL_XATTR_*). `opaque` and `redirect` are part of the layer and stay.
 */
const overlayPrivate = new Set(
  ["origin", "impure", "nlink", "upper", "uuid"].map((name) => `trusted.overlay.${name}`),
);

export class XattrLists {
  readonly #lists = new Map<string, readonly Xattr[]>();
  readonly #onNew: (list: readonly Xattr[]) => void;

  /** @param onNew is told of each list that is kept; may throw */
  constructor(onNew: (list: readonly Xattr[]) => void = () => undefined) {
    this.#onNew = onNew;
  }

  intern(xattrs: readonly Xattr[]): readonly Xattr[] {
    if (xattrs.length === 0) return noXattrs;
    const kept = xattrs.filter((xattr) => !overlayPrivate.has(xattr.name));
    if (kept.length === 0) return noXattrs;
    const key = kept
      .map((xattr) => `${xattr.name}\0${xattr.value.length}\0${byteString(xattr.value)}`)
      .join("\0");
    const known = this.#lists.get(key);
    if (known !== undefined) return known;
    this.#onNew(kept);
    this.#lists.set(key, kept);
    return kept;
  }
}
