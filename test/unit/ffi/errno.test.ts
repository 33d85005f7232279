import { describe, expect, test } from "bun:test";
import { errnoName, SyscallError } from "../../../ffi/errno.ts";
import { open } from "../../../ffi/file.ts";
import { realtimeNs } from "../../../ffi/time.ts";

describe("SyscallError", () => {
  test.each([
    [2, "not_found"],
    [17, "already_exists"],
    [28, "resource_exhausted"],
    [122, "resource_exhausted"],
    [24, "resource_exhausted"],
    [13, "permission_denied"],
    [1, "permission_denied"],
    [22, "invalid_argument"],
    [5, "internal"],
  ] as const)("maps errno %d to %s", (errno, code) => {
    expect(new SyscallError("call", errno, "path").code).toBe(code);
  });

  test("prefers what the kernel said", () => {
    const error = new SyscallError("fsconfig", 22, "x", "erofs: unknown parameter");
    expect(error.message).toBe('Cannot fsconfig "x": EINVAL (erofs: unknown parameter)');
  });
});

describe("errnoName()", () => {
  test("knows the names node:os lacks, and numbers without a name", () => {
    expect([errnoName(15), errnoName(95), errnoName(117), errnoName(9999)]).toEqual([
      "ENOTBLK",
      "EOPNOTSUPP",
      "EUCLEAN",
      "errno 9999",
    ]);
  });
});

describe("check()", () => {
  test("reads the errno of its own call, also under allocation", () => {
    for (let round = 0; round < 2000; round++) {
      const padding = Array.from({ length: round % 50 }, (_, index) => ({ index }));
      expect(() => open(`/missing-${padding.length}`, 0)).toThrow("ENOENT");
      expect(() => open("/etc/passwd/x", 0)).toThrow("ENOTDIR");
    }
  });
});

describe("realtimeNs()", () => {
  test("is the time of day, in nanoseconds", () => {
    const before = BigInt(Date.now()) * 1_000_000n;
    const now = realtimeNs();
    const after = BigInt(Date.now() + 1) * 1_000_000n;
    expect(now >= before && now <= after).toBe(true);
  });
});
