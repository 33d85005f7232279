import { describe, expect, test } from "bun:test";
import { findMountedLayers } from "../../../src/mount/adoption.ts";
import { parseMountInfo } from "../../../src/mount/mountinfo.ts";

function mounted(...mounts: readonly (readonly [target: string, type: string, source: string])[]) {
  const lines = mounts.map(
    ([target, type, source], index) => `${index} 0 0:9 / ${target} ro - ${type} ${source} ro`,
  );
  return findMountedLayers(parseMountInfo(lines.join("\n")), "/root/mounts");
}

describe("findMountedLayers()", () => {
  test("finds layers and how they are mounted", () => {
    const found = mounted(
      ["/root/mounts/7", "erofs", "/root/images/7.erofs"],
      ["/root/mounts/8", "erofs", "/dev/loop3"],
    );
    expect(found).toEqual(
      new Map([
        [7, "file"],
        [8, "loop"],
      ]),
    );
  });

  test.each([
    "/root/mounts/07",
    "/root/mounts/x",
    "/root/mounts/7/sub",
    "/other/7",
    "/root/mounts",
  ])("passes over %s", (target) => {
    expect(mounted([target, "erofs", "/image"]).size).toBe(0);
  });

  test("goes by what is on top", () => {
    expect(mounted(["/root/mounts/7", "tmpfs", "t"], ["/root/mounts/7", "erofs", "/i"]).size).toBe(
      1,
    );
    expect(mounted(["/root/mounts/7", "erofs", "/i"], ["/root/mounts/7", "tmpfs", "t"]).size).toBe(
      0,
    );
  });
});
