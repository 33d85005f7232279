/**
 * Packs layers as gzip blobs of an OCI layout: what was generated, and what a build left in the
 * upper directory of its overlay.
 *
 * @module
 */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { displayName } from "../../../src/util/byte-string.ts";
import type { Layer } from "../../../test/support/image/layer.ts";
import { blobPath } from "../../../test/support/image/layout.ts";
import type { Digest, LayerBlob } from "../../../test/support/image/oci.ts";
import { tarParts } from "../../../test/support/image/tar.ts";
import { blobFolder } from "./layout.ts";
import { findWhiteouts } from "./whiteouts.ts";

type Parts = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** Two blocks of zeros. */
const tarEndBytes = 1024;

/** Tars of this size on are compressed fast: they hold what does not compress. */
const gzipLevels = { usual: 6, fast: 1 } as const;
export type GzipLevel = keyof typeof gzipLevels;

function digestOf(hash: Bun.CryptoHasher): Digest {
  return `sha256:${hash.digest("hex")}`;
}

/** Compresses a tar into a blob of the layout. */
async function packTar(layout: string, tar: Parts, level: GzipLevel): Promise<LayerBlob> {
  const file = join(blobFolder(layout), `partial-${crypto.randomUUID()}`);
  const gzip = Bun.spawn(["gzip", "--no-name", `-${gzipLevels[level]}`], {
    stdin: "pipe",
    stdout: Bun.file(file),
  });
  const diffHash = new Bun.CryptoHasher("sha256");
  for await (const part of tar) {
    diffHash.update(part);
    await gzip.stdin.write(part);
    await gzip.stdin.flush();
  }
  await gzip.stdin.end();
  const exitCode = await gzip.exited;
  if (exitCode !== 0) throw new Error(`gzip exited with ${exitCode}`);
  const hash = new Bun.CryptoHasher("sha256");
  for await (const part of Bun.file(file).stream()) hash.update(part);
  const digest = digestOf(hash);
  const path = blobPath(layout, digest);
  renameSync(file, path);
  const read = () => Bun.file(path).bytes();
  return { digest, sizeBytes: Bun.file(path).size, diffId: digestOf(diffHash), read };
}

export function packEntries(layout: string, layer: Layer, level: GzipLevel): Promise<LayerBlob> {
  return packTar(layout, tarParts(layer), level);
}

/** All parts of a stream but its last bytes. */
async function* withoutEnd(parts: AsyncIterable<Uint8Array>, endBytes: number) {
  let held = Buffer.alloc(0);
  for await (const part of parts) {
    const all = Buffer.concat([held, part]);
    const length = Math.max(0, all.length - endBytes);
    yield all.subarray(0, length);
    held = all.subarray(length);
  }
}

/** The files by GNU tar, then by our own writer what is a whiteout in the image. */
async function* upperTar(upper: string, excludeFile: string): AsyncGenerator<Uint8Array> {
  const whiteouts = findWhiteouts(upper);
  const hidden = whiteouts.filter(({ type }) => type === "whiteout");
  writeFileSync(excludeFile, hidden.map(({ path }) => `./${displayName(path)}\n`).join(""));
  const tar = Bun.spawn([
    "tar",
    "--create",
    "--blocking-factor=1",
    "--format=pax",
    "--pax-option=delete=atime,delete=ctime",
    "--sort=name",
    "--numeric-owner",
    "--xattrs",
    "--xattrs-exclude=trusted.overlay.*",
    "--anchored",
    "--no-wildcards",
    `--exclude-from=${excludeFile}`,
    `--directory=${upper}`,
    ".",
  ]);
  yield* withoutEnd(tar.stdout, tarEndBytes);
  const exitCode = await tar.exited;
  if (exitCode !== 0) throw new Error(`tar of ${upper} exited with ${exitCode}`);
  yield* tarParts(whiteouts);
}

/**
 * Packs the upper directory of an overlay.
 *
 * @param scratch prefix of a file to be written beside
 */
export function packUpper(layout: string, upper: string, scratch: string): Promise<LayerBlob> {
  return packTar(layout, upperTar(upper, `${scratch}.exclude`), "usual");
}
