/**
 * Every kind of file a layer can hold, and everything a second and third layer can do to it.
 *
 * @module
 */
import { bytesOf, type ByteString } from "../../../src/util/byte-string.ts";
import { KiB, MiB } from "../../../src/util/bytes.ts";
import { randomBytes } from "../random.ts";
import {
  device,
  directory,
  fifo,
  file,
  hardLink,
  type Layer,
  type LayerEntry,
  opaque,
  symlink,
  whiteout,
} from "./layer.ts";

const oddNames = [
  "naïve-é",
  "nai\u0308ve-e\u0301",
  "日本語",
  "emoji-😀",
  "rtl-עברית",
  " lead",
  "trail ",
  "new\nline",
  "tab\t",
  "back\\slash",
  "quote'\"",
  "-dash",
  "colon:name",
  "a=b",
  "*",
  "%41",
  "..dots",
  "...",
  "wh.not",
  ".whx",
  "#%&{}$!@+`|~^",
] as const;

/** VFS_CAP_REVISION_2, cap_net_raw, effective (include/uapi/linux/capability.h). */
const netRawCapability = Buffer.from("0100000200200000000000000000000000000000", "hex");

/** POSIX_ACL_XATTR_VERSION 2, then tag, permissions and id of five entries. */
function posixAcl(): Buffer {
  const anyId = 0xff_ff_ff_ff;
  const entries = [
    [1, 6, anyId],
    [2, 4, 1000],
    [4, 4, anyId],
    [0x10, 4, anyId],
    [0x20, 0, anyId],
  ] as const;
  const acl = Buffer.alloc(4 + 8 * entries.length);
  acl.writeUInt32LE(2);
  for (const [index, [tag, permissions, id]] of entries.entries()) {
    acl.writeUInt16LE(tag, 4 + 8 * index);
    acl.writeUInt16LE(permissions, 6 + 8 * index);
    acl.writeUInt32LE(id, 8 + 8 * index);
  }
  return acl;
}

function modesAndOwners(): LayerEntry[] {
  const bigOwner = { uid: 2 ** 31 + 5, gid: 2 ** 31 + 7, mode: 0o4755 };
  return [
    file("hard/empty", ""),
    file("hard/mode0000", "secret\n", { mode: 0 }),
    file("hard/setuid", "#!/bin/true\n", { mode: 0o4755 }),
    file("hard/setgid", "#!/bin/true\n", { mode: 0o2755 }),
    directory("hard/sticky", { mode: 0o1777 }),
    directory("hard/setgid-dir", { mode: 0o2775, gid: 12 }),
    file("hard/big-owner", "x", bigOwner),
    directory("hard/many-empty"),
    ...Array.from({ length: 200 }, (_, index) => file(`hard/many-empty/e${index}`, "")),
  ];
}

function nodesAndLinks(): LayerEntry[] {
  const linkFolders = Array.from({ length: 20 }, (_, index) => `hard/links${index}`);
  return [
    device("hard/null", "character device", [1, 3], { mode: 0o666 }),
    device("hard/loop9", "block device", [7, 9], { mode: 0o640 }),
    device("hard/big-device", "character device", [511, 70_000]),
    fifo("hard/fifo"),
    hardLink("hard/null-hard-link", "hard/null"),
    hardLink("hard/setuid-hard-link", "hard/setuid"),
    file("hard/link-a", "linked\n".repeat(1000)),
    ...linkFolders.flatMap((path) => [directory(path), hardLink(`${path}/b`, "hard/link-a")]),
    symlink("hard/sym", "link-a"),
    hardLink("hard/sym-hard-link", "hard/sym"),
    symlink("hard/loop-a", "loop-b", { xattrs: { "trusted.onlink": Buffer.from("1") } }),
    symlink("hard/loop-b", "loop-a"),
    symlink("hard/self", "self"),
    symlink("hard/dangling", "/nowhere/at/all"),
    symlink("hard/escape", `${"../".repeat(40)}etc/shadow`),
    symlink("hard/long-target", "t".repeat(4000)),
    symlink("hard/dot", "."),
  ];
}

/** Fourteen directories deep, nearly three thousand bytes. */
function deepPath(): LayerEntry[] {
  const paths = Array.from({ length: 14 }, (_, depth) =>
    Array.from({ length: depth + 1 }, (__, level) =>
      String(level).padStart(2, "0").concat("d".repeat(198)),
    ).join("/"),
  );
  const folders = paths.map((path) => directory(`hard/${path}`));
  return [...folders, file(`hard/${paths.at(-1)}/deep`, "far down\n")];
}

function names(): LayerEntry[] {
  const notUtf8 = bytesOf("hard/names/latin1-\xe9\xff" as ByteString);
  return [
    file(`hard/${"n".repeat(255)}`, "255 bytes of name\n"),
    directory("hard/names"),
    ...oddNames.map((name) => file(`hard/names/${name}`, name)),
    file(notUtf8, "not UTF-8\n"),
    ...deepPath(),
  ];
}

function timesAndXattrs(): LayerEntry[] {
  return [
    file("hard/t-1960", "before 1970", { mtimeNs: -315_619_200_000_000_000n }),
    file("hard/t-zero", "1970", { mtimeNs: 0n }),
    file("hard/t-2040", "after 2038", { mtimeNs: 2_208_988_800_000_000_001n }),
    file("hard/t-2200", "after 2106", { mtimeNs: 7_258_118_400_000_000_000n }),
    file("hard/t-nano", "ns", { mtimeNs: 1_600_000_000_123_456_789n }),
    file("hard/xattr", "x", {
      xattrs: {
        "user.plain": Buffer.from("v"),
        "user.empty": Buffer.alloc(0),
        "user.binary": Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
        "user.big": Buffer.alloc(2500, "B"),
        "user.utf8-é": Buffer.from("x"),
      },
    }),
    file("hard/capability", "#!/bin/true\n", {
      mode: 0o755,
      xattrs: { "security.capability": netRawCapability },
    }),
    file("hard/acl", "x", { mode: 0o640, xattrs: { "system.posix_acl_access": posixAcl() } }),
    directory("hard/xattr-dir", {
      xattrs: { "user.dir": Buffer.from("1"), "trusted.note": Buffer.from("root only") },
    }),
  ];
}

const sizes = [1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 131_071, MiB, MiB + 1] as const;

function contents(): LayerEntry[] {
  const islands = Buffer.alloc(32 * MiB);
  for (const at of [0, 9 * MiB, 32 * MiB - 5]) islands.write("ISLE\n", at);
  return [
    file("hard/islands", islands),
    file("hard/random", randomBytes("hard/random", 3 * MiB)),
    file("hard/zeros", Buffer.alloc(2 * MiB)),
    file("hard/text", Buffer.from("the same line again\n".repeat(100_000))),
    directory("hard/sizes"),
    ...sizes.map((size) => file(`hard/sizes/${size}`, randomBytes(`size ${size}`, size))),
    directory("hard/tiny"),
    ...Array.from({ length: 3000 }, (_, index) =>
      file(`hard/tiny/f${index}`, `content ${index % 100}\n`.repeat(index % 37)),
    ),
  ];
}

const fiveFiles = [0, 1, 2, 3, 4].map((index) => `f${index}`);
const folders = ["opq", "opq-deep/a/b", "dir-gone/sub", "replaced-by-file", "opq-twice"] as const;
/** A whiteout whose path does not fit into the tar header. */
const longGone = `hard/lower/${"long-".repeat(40)}`;

function toBeChanged(): LayerEntry[] {
  const plain = ["gone", "keep", "replaced-by-dir", "again", "chmod-only", "rename-me"];
  return [
    directory("hard/lower"),
    directory("hard/lower/opq-deep"),
    directory("hard/lower/opq-deep/a"),
    directory("hard/lower/dir-gone"),
    directory("hard/lower/meta"),
    file("hard/lower/meta/x", "content of x"),
    ...plain.map((name) => file(`hard/lower/${name}`, `lower ${name}`.repeat(100))),
    hardLink("hard/lower/gone-link", "hard/lower/gone"),
    file(longGone, "a name of 200 bytes"),
    ...folders.map((folder) => directory(`hard/lower/${folder}`)),
    ...folders.flatMap((folder) =>
      fiveFiles.map((name) => file(`hard/lower/${folder}/${name}`, "lower\n")),
    ),
  ];
}

/** First layer: all kinds of files. */
function firstLayer(): Layer {
  return [
    directory(""),
    directory("hard"),
    ...modesAndOwners(),
    ...nodesAndLinks(),
    ...names(),
    ...timesAndXattrs(),
    ...contents(),
    ...toBeChanged(),
  ];
}

function madeAgain(folder: string): LayerEntry[] {
  const path = `hard/lower/${folder}`;
  return [
    directory(path),
    opaque(path),
    file(`${path}/f0`, "upper\n"),
    file(`${path}/new`, "upper\n"),
  ];
}

/** Second layer: whiteouts, opaque directories, other types, changes of metadata only. */
function secondLayer(): Layer {
  return [
    directory(""),
    directory("hard"),
    directory("hard/lower"),
    whiteout("hard/lower/gone"),
    whiteout("hard/lower/again"),
    whiteout(longGone),
    whiteout("hard/lower/dir-gone"),
    directory("hard/lower/replaced-by-dir"),
    file("hard/lower/replaced-by-dir/in", "now in a directory\n"),
    file("hard/lower/replaced-by-file", "now a file\n"),
    ...madeAgain("opq"),
    directory("hard/lower/opq-deep"),
    ...madeAgain("opq-deep/a"),
    ...madeAgain("opq-twice"),
    file("hard/lower/chmod-only", "lower chmod-only".repeat(100), { mode: 0o600 }),
    directory("hard/lower/meta", { uid: 5, gid: 5 }),
    whiteout("hard/lower/rename-me"),
    file("hard/lower/renamed", "lower rename-me".repeat(100)),
    file("hard/link-a", `${"linked\n".repeat(1000)}more\n`),
    file("hard/xattr", "x", { xattrs: { "user.added": Buffer.from("2") } }),
    directory("hard/nothing-hidden"),
    opaque("hard/nothing-hidden"),
    file("hard/nothing-hidden/f", randomBytes("nothing hidden", 5 * KiB)),
  ];
}

/** Third layer: some of it undone, some done again. */
function thirdLayer(): Layer {
  return [
    directory(""),
    directory("hard"),
    directory("hard/lower"),
    file("hard/lower/again", "back again\n"),
    directory("hard/lower/opq-twice"),
    opaque("hard/lower/opq-twice"),
    file("hard/lower/opq-twice/third", "third\n"),
    directory("hard/lower/dir-gone"),
    file("hard/lower/dir-gone/f9", "the directory is back, its old entries are not\n"),
    symlink("hard/lower/replaced-by-dir", "keep"),
    directory("hard/lower/opq"),
    whiteout("hard/lower/opq/new"),
    whiteout("hard/many-empty"),
  ];
}

export function hardCaseLayers(): Layer[] {
  return [firstLayer(), secondLayer(), thirdLayer()];
}
