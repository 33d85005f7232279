/**
 * Owner, permissions, time and extended attributes of an inode, as unpacking its entry sets them.
 *
 * @module
 */
import { fileType, type InodeAttributes, noXattrs, type Inode, type Xattr } from "../erofs/tree.ts";
import type { TarEntry, TarXattr } from "../tar/entry.ts";
import { compareByteStrings } from "../util/byte-string.ts";
import type { XattrLists } from "./xattr-lists.ts";

const permissionBits = 0o7777;
/** (uid_t) -1, which chown(2) takes for "leave it as it is". */
const unchangedId = 0xffff_ffff;
/** What chown(2) takes away from anything but a directory. */
const capabilityXattr = "security.capability";

/** Device numbers as mknod(2) takes them: 12 and 20 bits of the number. */
export function deviceNumbers({ type, deviceMajor, deviceMinor }: TarEntry) {
  if (type === "fifo") return { deviceMajor: 0, deviceMinor: 0 };
  return { deviceMajor: deviceMajor & 0xfff, deviceMinor: deviceMinor & 0xf_ffff };
}

/** The user ID a number of the tar stands for: its lower 32 bits, as in chown(2). */
export function idOf(number: number, otherwise: number): number {
  const id = number >>> 0;
  return id === unchangedId ? otherwise : id;
}

/** In the order of containerd: owner, extended attributes on top of those there, mode, time. */
export function setAttributes(inode: Inode, entry: TarEntry, lists: XattrLists): void {
  inode.uid = idOf(entry.uid, inode.uid);
  inode.gid = idOf(entry.gid, inode.gid);
  if (inode.type !== "directory" && inode.xattrs.some(({ name }) => name === capabilityXattr)) {
    inode.xattrs = lists.intern(inode.xattrs.filter(({ name }) => name !== capabilityXattr));
  }
  if (entry.xattrs.length > 0) {
    inode.xattrs = lists.intern(mergeXattrs(inode.xattrs, entry.xattrs.filter(isSettable(inode))));
  }
  if (inode.type !== "symlink") {
    inode.mode = (inode.mode & fileType.mask) | (entry.mode & permissionBits);
  }
  setTime(inode, entry);
}

export function setTime(
  inode: Pick<InodeAttributes, "mtimeSeconds" | "mtimeNanoseconds">,
  time: Pick<TarEntry, "mtimeSeconds" | "mtimeNanoseconds">,
): void {
  inode.mtimeSeconds = time.mtimeSeconds;
  inode.mtimeNanoseconds = time.mtimeNanoseconds;
}

/** Sorted by name; of equal names the last stays. */
export function mergeXattrs(
  present: readonly Xattr[],
  added: readonly TarXattr[],
): readonly Xattr[] {
  if (added.length === 0) return present;
  const byName = new Map(present.map((xattr) => [xattr.name, xattr]));
  for (const xattr of added) byName.set(xattr.name, xattr);
  return [...byName.values()].sort((left, right) => compareByteStrings(left.name, right.name));
}

/**
 * What Linux has no place for is left out, as containerd leaves out what lsetxattr(2) answers with
 * ENOTSUP, or with EPERM in the `user` namespace of what is neither file nor directory.
 *
 * `trusted.*` containerd leaves out too; we keep it, but for overlayfs's own: what hides and what
 * does not, a layer says with whiteouts.
 */
function isSettable(inode: Inode): (xattr: TarXattr) => boolean {
  const { type } = inode;
  return ({ name }) => {
    if (name.startsWith("user.")) return type === "file" || type === "directory";
    if (name === "system.posix_acl_access") return type !== "symlink";
    if (name === "system.posix_acl_default") return type === "directory";
    if (name.startsWith("trusted.")) return !name.startsWith("trusted.overlay.");
    return name.startsWith("security.");
  };
}

/** A directory nobody described: root's, but with the group of a parent that hands it on. */
export function plainDirectoryAttributes(
  parent: Pick<InodeAttributes, "mode" | "gid">,
  time: Pick<TarEntry, "mtimeSeconds" | "mtimeNanoseconds">,
) {
  const setGroupId = 0o2000;
  return {
    mode: fileType.directory | 0o755,
    uid: 0,
    gid: (parent.mode & setGroupId) === 0 ? 0 : parent.gid,
    mtimeSeconds: time.mtimeSeconds,
    mtimeNanoseconds: time.mtimeNanoseconds,
    xattrs: noXattrs,
  };
}
