import { describe, expect, test } from "bun:test";
import { fetchError, isTlsFailure } from "../../../src/registry/fetch-error.ts";

const subject = { host: "localhost:5000", reference: "localhost:5000/app:1" };

function failed(code: string): Error {
  const thrown = Object.assign(new Error("it failed"), { code });
  return fetchError(thrown, subject, new AbortController().signal);
}

describe("isTlsFailure", () => {
  test("no TLS, or a connection that was reset in place of an answer", () => {
    expect(isTlsFailure(failed("EPROTO"))).toBe(true);
    expect(isTlsFailure(failed("ECONNRESET"))).toBe(true);
  });

  test("a server that is away, or has a wrong certificate, is not asked without TLS", () => {
    expect(isTlsFailure(failed("ECONNREFUSED"))).toBe(false);
    expect(isTlsFailure(failed("DEPTH_ZERO_SELF_SIGNED_CERT"))).toBe(false);
  });
});
