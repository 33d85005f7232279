import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { decodeExtent } from "../../../src/erofs/extent-codec.ts";
import { compressionAlgorithm } from "../../../src/erofs/compression.ts";
import { extentsOf, openImage, PackedContent, walkImage } from "../../../src/erofs/read.ts";
import type { ImageFiles, MountMode } from "../../../src/mount/contract.ts";
import type { MountFunctions } from "../../../src/mount/probe.ts";
import {
  probeCompression,
  type RequestedCompression,
} from "../../../src/mount/probe-compression.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { rejection } from "../../support/rejection.ts";

const mode: MountMode = { method: "file", directIo: true };
const packStart = 2 ** 23;

/** "Mounts" images of some algorithms by reading them ourselves. */
function fakeFunctions(known: readonly number[]): MountFunctions {
  return {
    mount({ image, packs }: ImageFiles, target: string): MountMode {
      const bytes = readFileSync(image);
      const pack = readFileSync(packs[0] ?? "");
      const opened = openImage((offset, length) => bytes.subarray(offset, offset + length));
      const { algorithm } = opened.superblock;
      if (algorithm === undefined || !known.includes(algorithm)) throw new Error("no such thing");
      mkdirSync(target);
      const packed = new PackedContent(opened);
      for (const { path, inode } of walkImage(opened)) {
        for (const extent of extentsOf(opened, inode)) {
          const isFragment = extent.kind === "fragment";
          const holder = isFragment ? packed.extentAt(extent.packedOffsetBytes) : extent;
          if (holder.kind !== "compressed") continue;
          const start = (holder.block - packStart) * 4096;
          const stored = pack.subarray(start, start + holder.storedBlocks * 4096);
          const content = decodeExtent(algorithm, stored, holder.lengthBytes);
          const from = isFragment ? extent.packedOffsetBytes : 0;
          writeFileSync(join(target, path), content.subarray(from, from + extent.lengthBytes));
        }
      }
      return mode;
    },
    unmount: (target) => rmSync(target, { recursive: true, force: true }),
  };
}

function probe(compression: RequestedCompression, known: readonly number[], level: number | null) {
  const scratch = scratchFolder("unit");
  const request = { compression, level, mode };
  const result = probeCompression(request, scratch.path, fakeFunctions(known));
  return result.finally(() => {
    const left = readdirSync(scratch.path);
    scratch[Symbol.dispose]();
    expect(left).toEqual([]);
  });
}

const { zstd, deflate } = compressionAlgorithm;

describe("probeCompression()", () => {
  test("takes zstd where the kernel reads it", async () => {
    expect(await probe("auto", [zstd, deflate], null)).toEqual({
      codec: { algorithm: zstd, level: 3 },
      failed: [],
    });
  });

  test("falls back to deflate, then to none, and says why", async () => {
    expect(await probe("auto", [deflate], null)).toEqual({
      codec: { algorithm: deflate, level: 6 },
      failed: [{ tried: "zstd", reason: "no such thing" }],
    });
    const none = await probe("auto", [], null);
    expect(none.codec).toBeUndefined();
    expect(none.failed.map(({ tried }) => tried)).toEqual(["zstd", "deflate"]);
  });

  test("tries nothing where none is asked for", async () => {
    expect(await probe("none", [zstd], null)).toEqual({ codec: undefined, failed: [] });
  });

  test("uses the level that was asked for, as far as there is one", async () => {
    expect((await probe("zstd", [zstd], 19)).codec).toEqual({ algorithm: zstd, level: 19 });
    expect((await probe("deflate", [deflate], 19)).codec?.level).toBe(9);
  });

  test("refuses an algorithm that was asked for by name and cannot be read", async () => {
    const error = await rejection(probe("zstd", [deflate], null));
    expect(error).toMatchObject({ code: "failed_precondition" });
    expect(String(error)).toContain("Cannot use zstd compression: no such thing");
  });
});
