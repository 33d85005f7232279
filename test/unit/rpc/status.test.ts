import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "bun:test";
import { AppError, type ErrorCode } from "../../../src/errors.ts";
import { statusOf } from "../../../src/rpc/status.ts";

describe("statusOf()", () => {
  const classes: [ErrorCode, status, string][] = [
    ["not_found", status.NOT_FOUND, "what: not found"],
    ["already_exists", status.ALREADY_EXISTS, "what: already exists"],
    ["failed_precondition", status.FAILED_PRECONDITION, "what: failed precondition"],
    ["invalid_argument", status.INVALID_ARGUMENT, "what: invalid argument"],
    ["unavailable", status.UNAVAILABLE, "what: unavailable"],
    ["data_loss", status.DATA_LOSS, "what: data loss"],
    ["cancelled", status.CANCELLED, "what: context canceled"],
    ["unimplemented", status.UNIMPLEMENTED, "what: not implemented"],
    ["internal", status.INTERNAL, "what: internal"],
  ];

  test.each(classes)("ends the message of %s in containerd's text", (code, expected, details) => {
    expect(statusOf(new AppError(code, "what"))).toEqual({ code: expected, details });
  });

  test("tells causes but no stack, and calls unknown things internal", () => {
    const cause = new Error("disk gone");
    expect(statusOf(new AppError("unavailable", "Cannot x", { cause })).details).toBe(
      "Cannot x: disk gone: unavailable",
    );
    expect(statusOf(new TypeError("oops"))).toEqual({
      code: status.INTERNAL,
      details: "oops: internal",
    });
    expect(statusOf("text").code).toBe(status.INTERNAL);
  });

  test("cuts messages that no header takes", () => {
    expect(statusOf(new Error("x".repeat(100_000))).details.length).toBeLessThan(3000);
  });
});
