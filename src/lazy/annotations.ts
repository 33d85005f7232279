/**
 * What the manifest of an image says of a lazy layer: annotations of the layer's descriptor.
 *
 * @module
 */
import { parseDigest } from "../containerd/descriptor.ts";
import { AppError } from "../errors.ts";
import type { LazyFormat } from "./model.ts";
import { parseTocPosition, type ZstdPlace } from "./zstd-chunked/position.ts";

export const annotation = {
  /** SHA-256 of the table's JSON. Stargz-snapshotter sets it for its zstd:chunked as well. */
  estargzTocDigest: "containerd.io/snapshot/stargz/toc.digest",
  /** Of the tar. */
  estargzUncompressedSize: "io.containers.estargz.uncompressed-size",
  /** SHA-256 of the compressed table. */
  zstdTocDigest: "io.github.containers.zstd-chunked.manifest-checksum",
  zstdTocPosition: "io.github.containers.zstd-chunked.manifest-position",
  zstdTarSplitPosition: "io.github.containers.zstd-chunked.tarsplit-position",
  /** The same two, as stargz-snapshotter and nerdctl write them, and old versions of skopeo. */
  stargzZstdTocDigest: "io.containers.zstd-chunked.manifest-checksum",
  stargzZstdTocPosition: "io.containers.zstd-chunked.manifest-position",
} as const;

/** All of them: what a layer that is converted must not keep. */
export const lazyAnnotations: ReadonlySet<string> = new Set([
  ...Object.values(annotation),
  "io.github.containers.zstd-chunked.tarsplit-checksum",
]);

export interface LazyClaim {
  readonly format: LazyFormat;
  /** `sha256:…`: of the JSON (eStargz), of the compressed JSON (zstd:chunked). */
  readonly tocDigest: string;
  /** Undefined where only the footer says where the table lies. */
  readonly place: ZstdPlace | undefined;
}

export type Annotations = Readonly<Record<string, string>>;

/**
 * What the author of an image says of a layer; undefined for a layer that is not lazy, or whose
 * table nobody vouches for.
 *
 * @throws AppError `data_loss` for annotations that contradict each other or do not parse
 */
export function lazyClaim(annotations: Annotations): LazyClaim | undefined {
  const estargz = annotations[annotation.estargzTocDigest];
  const containers = annotations[annotation.zstdTocDigest];
  const stargz = annotations[annotation.stargzZstdTocDigest];
  if (containers !== undefined) {
    // Two tables could show two trees; containers/storage refuses that, too.
    if (estargz !== undefined) throw claimError("has tables of two formats");
    return zstdClaim(containers, annotations[annotation.zstdTocPosition]);
  }
  if (stargz !== undefined) {
    return zstdClaim(stargz, annotations[annotation.stargzZstdTocPosition]);
  }
  if (estargz === undefined) return undefined;
  return { format: "estargz", tocDigest: checkedDigest(estargz), place: undefined };
}

function zstdClaim(digest: string, position: string | undefined): LazyClaim {
  const place = position === undefined ? undefined : parseTocPosition(position);
  if (position !== undefined && place === undefined) throw claimError(`lies at "${position}"`);
  return { format: "zstd-chunked", tocDigest: checkedDigest(digest), place };
}

function checkedDigest(text: string): string {
  if (parseDigest(text)?.algorithm === "sha256") return text;
  throw claimError(`has the digest "${text}"`);
}

function claimError(problem: string): AppError {
  return new AppError("data_loss", `The table of contents of the layer ${problem}`);
}
