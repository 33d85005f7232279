import { describe, expect, test } from "bun:test";
import { blobFile } from "../../../src/containerd/content-store.ts";
import { isLayerType, parseDigest } from "../../../src/containerd/descriptor.ts";

const sha256 = "0123456789abcdef".repeat(4);
const sha512 = "0123456789abcdef".repeat(8);

describe("isLayerType()", () => {
  test.each([
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  ])("takes %s", (type) => {
    expect(isLayerType(type)).toBe(true);
  });

  test.each([
    "",
    "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
    "application/vnd.oci.image.layer.v1.tar+gzip+gzip",
    "application/vnd.oci.image.layer.v1.tar+lz4",
    "application/vnd.erofs.layer.v1",
    "application/vnd.oci.image.config.v1+json",
    "application/octet-stream",
  ])("leaves %p", (type) => {
    expect(isLayerType(type)).toBe(false);
  });
});

describe("parseDigest()", () => {
  test("knows SHA-256 and SHA-512", () => {
    expect(parseDigest(`sha256:${sha256}`)).toEqual({ algorithm: "sha256", hex: sha256 });
    expect(parseDigest(`sha512:${sha512}`)).toEqual({ algorithm: "sha512", hex: sha512 });
  });

  test.each([
    "",
    sha256,
    `sha256:${sha512}`,
    `sha512:${sha256}`,
    `sha256:${sha256.toUpperCase()}`,
    `sha256:../${sha256.slice(3)}`,
    `sha256:${sha256}\n`,
    `md5:${sha256}`,
  ])("refuses %j", (text) => {
    expect(parseDigest(text)).toBeUndefined();
  });
});

describe("blobFile()", () => {
  test("is where containerd keeps the blob", () => {
    const root = "/var/lib/containerd";
    expect(blobFile(root, { algorithm: "sha256", hex: "ab" })).toBe(
      `${root}/io.containerd.content.v1.content/blobs/sha256/ab`,
    );
  });
});
