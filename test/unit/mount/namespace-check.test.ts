import { describe, expect, test } from "bun:test";
import { parseMountInfo } from "../../../src/mount/mountinfo.ts";
import { checkMountNamespace, findNamespaceProblem } from "../../../src/mount/namespace-check.ts";

function view(namespace: string, ...propagation: readonly string[]) {
  const lines = propagation.map(
    (optional, index) =>
      `${index} 0 8:1 / ${index === 0 ? "/" : "/data"} rw ${optional}- ext4 d rw`,
  );
  return { namespace, entries: parseMountInfo(lines.join("\n")) };
}

describe("findNamespaceProblem()", () => {
  const host = view("mnt:[1]", "shared:1 ", "shared:2 ");

  test("has nothing to say in the host's namespace, shared or not", () => {
    expect(findNamespaceProblem("/root", view("mnt:[1]", ""), host)).toBeUndefined();
  });

  test("accepts a mount of a group that the host has", () => {
    expect(findNamespaceProblem("/root", view("mnt:[2]", "shared:1 "), host)).toBeUndefined();
    const own = view("mnt:[2]", "", "shared:2 ");
    expect(findNamespaceProblem("/data/root", own, host)).toBeUndefined();
  });

  test.each(["", "master:1 ", "shared:70 master:1 "])(
    "complains in a namespace of its own where the root is %j",
    (propagation) => {
      const problem = findNamespaceProblem("/root", view("mnt:[2]", propagation), host);
      expect(problem).toContain('"/root" is not on a mount shared with the host');
    },
  );

  test("looks at the mount that holds the root", () => {
    const own = view("mnt:[2]", "shared:1 ", "");
    expect(findNamespaceProblem("/data/root", own, host)).toContain("rshared");
  });
});

describe("checkMountNamespace()", () => {
  test("reads both processes' mounts without failing, whoever runs it", () => {
    expect(() => checkMountNamespace("/tmp")).not.toThrow();
  });
});
