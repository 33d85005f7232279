import { describe, expect, test } from "bun:test";
import { linkSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { diskUsage } from "../../../src/snapshot/disk-usage.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { rejection } from "../../support/rejection.ts";

describe("diskUsage()", () => {
  test("counts as du(1) does: allocated bytes, hard links once, any name", async () => {
    using scratch = scratchFolder("unit");
    const root = join(scratch.path, "root");
    mkdirSync(join(root, "a", "b"), { recursive: true });
    writeFileSync(join(root, "a", "file"), Buffer.alloc(100_000, 1));
    linkSync(join(root, "a", "file"), join(root, "a", "b", "link"));
    writeFileSync(join(root, "sparse"), "x");
    truncateSync(join(root, "sparse"), 10_000_000);
    symlinkSync("a", join(root, "symlink"));
    const odd = Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0x0a, 0xfe])]);
    writeFileSync(odd, Buffer.alloc(5000, 1));
    for (let index = 0; index < 200; index++) writeFileSync(join(root, "a", `${index}`), "");

    const du = Bun.spawnSync(["du", "-s", "--block-size=1", root]).stdout.toString();
    expect(await diskUsage(root)).toEqual({
      sizeBytes: Number.parseInt(du, 10),
      inodes: 3 + 4 + 200,
    });
  });

  test("rejects where the directory is missing", async () => {
    expect(await rejection(diskUsage("/nonexistent/directory"))).toEqual(
      expect.objectContaining({ message: expect.stringContaining("ENOENT") }),
    );
  });
});
