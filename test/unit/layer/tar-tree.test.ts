import { describe, expect, test } from "bun:test";
import { LazySource } from "../../../src/layer/lazy-source.ts";
import { buildEntryTree } from "../../../src/layer/tar-tree.ts";
import { parseToc } from "../../../src/lazy/toc.ts";
import { ChunkTable } from "../../../src/store/chunk-table.ts";
import { openIndex } from "../../../src/store/index-database.ts";
import { tocJson, tocOffset } from "../../support/lazy/make-toc.ts";
import { rejection } from "../../support/rejection.ts";

describe("buildEntryTree()", () => {
  test("refuses short tables that need directories without end", async () => {
    const deep = "d/".repeat(2000);
    const rows = ["a", "b", "c"].map((name) => ({ type: "dir", name: `${name}/${deep}` }));
    const { entries } = parseToc(tocJson(rows), "estargz", tocOffset);
    using database = openIndex(":memory:");
    const source = new LazySource(entries, new ChunkTable(undefined), {
      database,
      algorithm: undefined,
    });
    expect(await rejection(buildEntryTree(source, {}))).toMatchObject({
      code: "unimplemented",
      message: expect.stringContaining("directories without an entry of their own"),
    });
  });
});
