import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { type ScratchFolder, scratchFolder } from "../../../scripts/lib/temp.ts";
import { readManifest } from "../../../src/claim/manifest.ts";
import { blobFile } from "../../../src/containerd/content-store.ts";
import type { CallScope } from "../../../src/containerd/contract.ts";
import { parseDigest } from "../../../src/containerd/descriptor.ts";
import { AppError } from "../../../src/errors.ts";
import type { RegistryClient } from "../../../src/registry/contract.ts";
import { manifestBytesMax } from "../../../src/registry/limits.ts";
import { sha256Digest } from "../../../src/util/digest.ts";
import { rejection } from "../../support/rejection.ts";
import { manifestOf } from "./fakes.ts";

const manifest = manifestOf([]);
const bytes = Buffer.from(JSON.stringify(manifest));
const manifestDigest = sha256Digest(bytes);
const { signal } = new AbortController();

let scratch: ScratchFolder;
let stored: Uint8Array | undefined;
let asked: (CallScope | string)[];

beforeEach(() => {
  scratch = scratchFolder("unit");
  stored = undefined;
  asked = [];
});

afterEach(() => scratch[Symbol.dispose]());

function read(digest = manifestDigest, published: Uint8Array = bytes) {
  const blobs = {
    readBlob: async (_: string, offset: number, length: number, scope: CallScope) => {
      expect([offset, length]).toEqual([0, 0]);
      asked.push(scope);
      if (stored === undefined) throw new AppError("not_found", "no such blob");
      return stored;
    },
  };
  const registry: Pick<RegistryClient, "manifest"> = {
    manifest: async ({ host, repository }) => {
      asked.push(`${host}/${repository}`);
      return published;
    },
  };
  const content = { blobs, containerdRoot: scratch.path };
  const sources = { content, registries: () => registry as RegistryClient };
  const request = { image: "app:1", manifestDigest: digest, namespace: "k8s.io" };
  return readManifest(sources, request, signal);
}

function store(content: Uint8Array): void {
  const path = blobFile(scratch.path, parseDigest(manifestDigest)!);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

describe("readManifest()", () => {
  test("reads the file of containerd's content store, and asks nobody", async () => {
    store(bytes);
    expect(await read()).toEqual(manifest);
    expect(asked).toEqual([]);
  });

  test("asks containerd in the namespace of the call, and then the registry", async () => {
    const scope = { namespace: "k8s.io", lease: undefined };
    stored = bytes;
    expect(await read()).toEqual(manifest);
    expect(asked).toEqual([scope]);
    stored = undefined;
    expect(await read()).toEqual(manifest);
    expect(asked).toEqual([scope, scope, "docker.io/library/app"]);
  });

  test("takes nothing that has another digest or is too large", async () => {
    store(Buffer.from("{}"));
    stored = Buffer.from("[]");
    expect(await read()).toEqual(manifest);
    store(Buffer.alloc(manifestBytesMax + 1));
    expect(await read()).toEqual(manifest);
    expect(asked.filter((who) => who === "docker.io/library/app")).toHaveLength(2);
  });

  test("refuses an index, and what is no manifest or digest", async () => {
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [] }));
    const refusal = await rejection(read(manifestDigest, index));
    expect(refusal).toMatchObject({ code: "data_loss" });
    expect(String(refusal)).toContain("is an index, not a manifest");
    const noJson = await rejection(read(manifestDigest, Buffer.from("no")));
    expect(noJson).toMatchObject({ code: "data_loss" });
    expect(await rejection(read("sha256:x"))).toMatchObject({ code: "invalid_argument" });
  });
});
