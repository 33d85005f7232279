import { describe, expect, test } from "bun:test";
import {
  DiffService,
  type ApplyCall,
  type DiffServiceOptions,
} from "../../../src/containerd/diff-service.ts";
import { AppError } from "../../../src/errors.ts";
import type { LayerBlob } from "../../../src/snapshot/contract.ts";
import { RecordingLog } from "../snapshot/fakes.ts";
import { rejection } from "../../support/rejection.ts";

const hex = "ab".repeat(32);
const applied = { diffId: "sha256:cd", tarBytes: 10_240 };
const scope = { namespace: "k8s.io", lease: "l1" };

function callOf(changes: Partial<ApplyCall> = {}): ApplyCall {
  const mediaType = "application/vnd.oci.image.layer.v1.tar+gzip";
  return {
    blob: { mediaType, digest: `sha256:${hex}`, sizeBytes: 1234 },
    mounts: [{ type: "bind", source: "/upper", options: ["rw"] }],
    needsProcessor: false,
    scope,
    signal: new AbortController().signal,
    ...changes,
  };
}

class Fixture {
  readonly log = new RecordingLog();
  readonly taken: LayerBlob[] = [];
  readonly reads: unknown[][] = [];
  failure: unknown;
  answer: typeof applied | undefined = applied;

  service(changes: Partial<DiffServiceOptions> = {}): DiffService {
    return new DiffService({
      snapshots: {
        applyBlob: async (_, blob) => {
          this.taken.push(blob);
          if (this.failure !== undefined) throw this.failure;
          return this.answer;
        },
      },
      blobs: {
        readBlob: async (...parameters) => {
          this.reads.push(parameters);
          return new Uint8Array(2);
        },
      },
      containerdRoot: "/c",
      isEnabled: true,
      log: this.log,
      ...changes,
    });
  }
}

describe("DiffService.apply()", () => {
  test("answers with the descriptor of the tar", async () => {
    const fixture = new Fixture();
    expect(await fixture.service().apply(callOf())).toEqual({
      mediaType: "application/vnd.oci.image.layer.v1.tar",
      digest: "sha256:cd",
      sizeBytes: 10_240,
    });
    const [blob] = fixture.taken;
    expect(blob).toMatchObject({
      digest: `sha256:${hex}`,
      sizeBytes: 1234,
      file: `/c/io.containerd.content.v1.content/blobs/sha256/${hex}`,
    });
    await blob?.read(5, 2);
    expect(fixture.reads).toEqual([[`sha256:${hex}`, 5, 2, scope]]);
  });

  const { blob } = callOf();
  test.each<[string, Partial<ApplyCall>]>([
    ["another type", { blob: { ...blob, mediaType: "application/vnd.erofs.layer.v1" } }],
    ["an encrypted layer", { blob: { ...blob, mediaType: `${blob.mediaType}+encrypted` } }],
    ["a digest of another kind", { blob: { ...blob, digest: `blake3:${hex}` } }],
    ["a blob for a stream processor", { needsProcessor: true }],
  ])("leaves %s to containerd", async (_, changes) => {
    const fixture = new Fixture();
    expect(await fixture.service().apply(callOf(changes))).toBeUndefined();
    expect(fixture.taken).toEqual([]);
  });

  test("leaves everything to containerd when switched off", async () => {
    const fixture = new Fixture();
    expect(await fixture.service({ isEnabled: false }).apply(callOf())).toBeUndefined();
    expect(fixture.taken).toEqual([]);
  });

  test("leaves mounts to containerd that are not ours", async () => {
    const fixture = new Fixture();
    fixture.answer = undefined;
    expect(await fixture.service().apply(callOf())).toBeUndefined();
    expect(fixture.log.messages("warn")).toEqual([]);
  });

  test("leaves a right blob to containerd that we cannot read, and says why", async () => {
    const fixture = new Fixture();
    fixture.failure = new AppError("unimplemented", "a strange tar");
    expect(await fixture.service().apply(callOf())).toBeUndefined();
    expect(fixture.log.messages("warn")).toEqual([
      `layer sha256:${hex} is left to containerd's differ: a strange tar`,
    ]);
  });

  test.each(["data_loss", "resource_exhausted", "cancelled", "internal"] as const)(
    "passes %s on",
    async (code) => {
      const fixture = new Fixture();
      fixture.failure = new AppError(code, "it failed");
      expect(await rejection(fixture.service().apply(callOf()))).toBe(fixture.failure);
    },
  );
});
