import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { findMountOf, parseMountInfo } from "../../../src/mount/mountinfo.ts";

const lines = {
  root: "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard",
  layer: "90 27 0:50 / /var/lib/mounts/7 ro,noatime - erofs /var/lib/images/7.erofs ro",
  escaped: String.raw`91 27 0:51 / /a\040b\011c\134d\012e rw master:3 shared:12 - tmpfs a\040b rw`,
  empty: "92 27 0:52 / /x rw - tmpfs  rw",
};

describe("parseMountInfo()", () => {
  test("reads a line with one optional field, and one with none", () => {
    expect(parseMountInfo(`${lines.root}\n${lines.layer}\n`)).toEqual([
      {
        mountId: 27,
        parentId: 1,
        device: "254:0",
        mountPoint: "/",
        options: ["rw", "relatime"],
        sharedGroup: 1,
        fileSystem: "ext4",
        source: "/dev/vda",
      },
      {
        mountId: 90,
        parentId: 27,
        device: "0:50",
        mountPoint: "/var/lib/mounts/7",
        options: ["ro", "noatime"],
        sharedGroup: undefined,
        fileSystem: "erofs",
        source: "/var/lib/images/7.erofs",
      },
    ]);
  });

  test("undoes octal escapes and finds the shared group among other fields", () => {
    expect(parseMountInfo(lines.escaped)[0]).toMatchObject({
      mountPoint: "/a b\tc\\d\ne",
      sharedGroup: 12,
      source: "a b",
    });
  });

  test("accepts an empty source and an empty file", () => {
    expect(parseMountInfo(lines.empty)[0]?.source).toBe("");
    expect(parseMountInfo("")).toEqual([]);
  });

  test.each(["27 1 254:0 / / rw ext4 /dev/vda rw", "27", "x 1 0:1 / / rw - ext4 /dev/vda rw"])(
    "rejects %j",
    (line) => {
      expect(() => parseMountInfo(`${lines.root}\n${line}`)).toThrow(
        `mountinfo at byte ${lines.root.length + 1}`,
      );
    },
  );

  test("reads this machine's", () => {
    const entries = parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"));
    expect(entries.some((entry) => entry.mountPoint === "/proc")).toBe(true);
  });
});

describe("findMountOf()", () => {
  const entries = parseMountInfo(`${lines.root}\n${lines.layer}\n`);

  test.each([
    ["/var/lib/mounts/7/file", 90],
    ["/var/lib/mounts/7", 90],
    ["/var/lib/mounts/70", 27],
    ["/", 27],
  ])("finds the mount of %s", (path, mountId) => {
    expect(findMountOf(path, entries)?.mountId).toBe(mountId);
  });

  test("takes the topmost of two at one place", () => {
    const stacked = [...entries, ...parseMountInfo(lines.layer.replace("90", "95"))];
    expect(findMountOf("/var/lib/mounts/7", stacked)?.mountId).toBe(95);
  });
});
