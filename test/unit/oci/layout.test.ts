import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder, type ScratchFolder } from "../../../scripts/lib/temp.ts";
import { parseEndpoint } from "../../../src/oci/endpoint.ts";
import { LayoutSource } from "../../../src/oci/layout-source.ts";
import { LayoutTarget } from "../../../src/oci/layout-target.ts";
import { parseManifest } from "../../../src/oci/schema.ts";
import { sha256Digest } from "../../../src/util/digest.ts";
import { writeBlob, writeLayoutIndex } from "../../support/image/layout.ts";
import { rejection } from "../../support/rejection.ts";

let scratch: ScratchFolder;

beforeAll(() => {
  scratch = scratchFolder("layout");
});
afterAll(() => scratch[Symbol.dispose]());

const bytes = Buffer.from("content");
const blob = { mediaType: "a/b", digest: sha256Digest(bytes), sizeBytes: bytes.length };

async function* content(): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

describe("parseEndpoint", () => {
  test.each([
    ["oci:/a/b", "/a/b", undefined],
    ["oci:/a/b:1.2", "/a/b", "1.2"],
    ["oci:a:b:c", "a:b", "c"],
    ["./a:latest", "./a", "latest"],
    ["/a:b/c", "/a:b/c", undefined],
  ])("%s is a layout", (text, path, tag) => {
    expect(parseEndpoint(text)).toEqual({ kind: "layout", path, tag });
  });

  test.each(["debian:12", "localhost:5000/a/b:c", "ghcr.io/a@sha256:00"])(
    "%s is a reference",
    (text) => expect(parseEndpoint(text)).toEqual({ kind: "registry", reference: text }),
  );

  test("a path that is there is a layout, with its colons", () => {
    const path = join(scratch.path, "with:colon");
    writeFileSync(path, "");
    expect(parseEndpoint(path)).toEqual({ kind: "layout", path, tag: undefined });
  });
});

describe("LayoutTarget", () => {
  test("takes only what has the digest it is said to have", async () => {
    const path = join(scratch.path, "target");
    const target = await LayoutTarget.open(path, undefined);
    const wrong = { ...blob, digest: sha256Digest(Buffer.from("other")) };
    expect(await rejection(target.putBlob(wrong, content))).toMatchObject({ code: "data_loss" });
    await target.putBlob(blob, content);
    expect(readdirSync(join(path, "blobs", "sha256"))).toEqual([
      blob.digest.slice("sha256:".length),
    ]);
    await target.close();
  });
});

describe("LayoutSource", () => {
  test("names what is missing or has another size", async () => {
    const path = join(scratch.path, "source");
    writeBlob(path, bytes);
    writeLayoutIndex(path, []);
    const source = await LayoutSource.open(path, undefined);
    expect(await source.blobRange(blob, 2, 3)).toEqual(bytes.subarray(2, 5));
    const absent = { ...blob, digest: `sha256:${"0".repeat(64)}` };
    const failures = [
      [() => source.blobRange(absent, 0, 1), "not_found"],
      [() => source.blobRange({ ...blob, sizeBytes: 9 }, 0, 1), "data_loss"],
      [() => source.blobRange(blob, 5, 9), "data_loss"],
      [() => source.resolve(), "not_found"],
      [() => LayoutSource.open(join(scratch.path, "nowhere"), undefined), "not_found"],
      [() => LayoutSource.open(scratch.path, undefined), "invalid_argument"],
    ] as const;
    for (const [call, code] of failures) {
      expect(await rejection(call())).toMatchObject({ code });
    }
  });
});

describe("parseManifest", () => {
  test.each([
    "{",
    "[]",
    '{"schemaVersion":1}',
    '{"schemaVersion":2,"layers":[]}',
    '{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"md5:1","size":1}]}',
    '{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"sha256:1","size":-1}]}',
  ])("refuses %s", (text) => {
    const error = expect.objectContaining({ code: "data_loss" }) as Error;
    expect(() => parseManifest(Buffer.from(text), "manifest")).toThrow(error);
  });
});
