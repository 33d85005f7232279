/**
 * The content of an image layer, written down by hand: what a tar entry can say, and no more.
 *
 * @module
 */
import { type ByteString, byteString, byteStringOfText } from "../../../src/util/byte-string.ts";

export interface Attributes {
  /** Permission bits only. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNs: bigint;
  readonly xattrs: Readonly<Record<string, Uint8Array>>;
}

/** Paths are relative to the root of the image, which is the empty path. */
export type LayerEntry = { readonly path: ByteString } & (
  | (Attributes & { readonly type: "file"; readonly content: Uint8Array })
  | (Attributes & { readonly type: "directory" | "fifo" })
  | (Attributes & { readonly type: "symlink"; readonly target: ByteString })
  | (Attributes & {
      readonly type: "character device" | "block device";
      readonly major: number;
      readonly minor: number;
    })
  /** Another name for an entry of the same layer. */
  | { readonly type: "hard link"; readonly target: ByteString }
  /** The path, with all below it, is not there any more. */
  | { readonly type: "whiteout" }
  /** What lower layers have in the directory is not there any more. */
  | { readonly type: "opaque" }
);

export type Layer = readonly LayerEntry[];

/** A name that need not be UTF-8 is given as bytes. */
export type Name = string | Uint8Array;

export type Overrides = Partial<Attributes>;

/** 2020-01-02 03:04:05.000000006. */
export const defaultMtimeNs = 1_577_934_245_000_000_006n;

function toPath(name: Name): ByteString {
  return typeof name === "string" ? byteStringOfText(name) : byteString(name);
}

function attributes(mode: number, overrides: Overrides): Attributes {
  return { mode, uid: 0, gid: 0, mtimeNs: defaultMtimeNs, xattrs: {}, ...overrides };
}

export function file(path: Name, content: Name, overrides: Overrides = {}): LayerEntry {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  return { type: "file", path: toPath(path), content: bytes, ...attributes(0o644, overrides) };
}

export function directory(path: Name, overrides: Overrides = {}): LayerEntry {
  return { type: "directory", path: toPath(path), ...attributes(0o755, overrides) };
}

export function fifo(path: Name, overrides: Overrides = {}): LayerEntry {
  return { type: "fifo", path: toPath(path), ...attributes(0o640, overrides) };
}

export function symlink(path: Name, target: Name, overrides: Overrides = {}): LayerEntry {
  const to = toPath(target);
  return { type: "symlink", path: toPath(path), target: to, ...attributes(0o777, overrides) };
}

export function hardLink(path: Name, target: Name): LayerEntry {
  return { type: "hard link", path: toPath(path), target: toPath(target) };
}

export function device(
  path: Name,
  type: "character device" | "block device",
  [major, minor]: readonly [number, number],
  overrides: Overrides = {},
): LayerEntry {
  return { type, path: toPath(path), major, minor, ...attributes(0o600, overrides) };
}

export function whiteout(path: Name): LayerEntry {
  return { type: "whiteout", path: toPath(path) };
}

export function opaque(path: Name): LayerEntry {
  return { type: "opaque", path: toPath(path) };
}
