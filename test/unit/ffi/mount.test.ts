import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFlag } from "../../../ffi/constants.ts";
import { isErrno, errnoNumber } from "../../../ffi/errno.ts";
import { close, open } from "../../../ffi/file.ts";
import { mountBind, mountErofs, mountOverlay, unmount } from "../../../ffi/mount.ts";

let root = "";

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "dedup-mount-"));
  for (const name of ["lower", "upper", "work", "target"]) mkdirSync(`${root}/${name}`);
  writeFileSync(`${root}/lower/file`, "from below");
});

afterEach(() => {
  while (unmount(`${root}/target`, { lazily: true }));
  rmSync(root, { recursive: true, force: true });
});

describe("unmount()", () => {
  test("is false where nothing is mounted, and where nothing is", () => {
    expect(unmount(`${root}/target`)).toBe(false);
    expect(unmount(`${root}/missing`)).toBe(false);
  });

  test("says so while the mount is in use, unless lazily", () => {
    mountBind(`${root}/lower`, `${root}/target`);
    const fd = open(`${root}/target`, openFlag.readOnly);
    let failure: unknown;
    try {
      unmount(`${root}/target`);
    } catch (error) {
      failure = error;
    }
    expect(isErrno(failure, errnoNumber.busy)).toBe(true);
    expect(unmount(`${root}/target`, { lazily: true })).toBe(true);
    close(fd);
  });
});

describe("mountOverlay()", () => {
  test("stacks a writable directory on a lower one", () => {
    const at = (name: string) => `${root}/${name}`;
    const lower = [at("lower")];
    mountOverlay({ lower, upper: at("upper"), work: at("work"), target: at("target") });
    expect(readFileSync(`${root}/target/file`, "utf8")).toBe("from below");
    writeFileSync(`${root}/target/file`, "changed");
    expect(readFileSync(`${root}/upper/file`, "utf8")).toBe("changed");
    expect(readFileSync(`${root}/lower/file`, "utf8")).toBe("from below");
  });

  test("refuses paths that would be taken apart", () => {
    const mount = { lower: [`${root}/a:b`], target: `${root}/target` };
    expect(() => mountOverlay(mount)).toThrow("take apart");
  });
});

describe("mountErofs()", () => {
  const options = { devices: [], directIo: false };

  test("fails on a file that is no image, and leaves nothing mounted", () => {
    writeFileSync(`${root}/image`, new Uint8Array(8192));
    const mount = { ...options, source: `${root}/image`, target: `${root}/target` };
    expect(() => mountErofs(mount)).toThrow('Cannot mount "');
    expect(unmount(`${root}/target`)).toBe(false);
  });

  test("refuses relative paths", () => {
    const mount = { ...options, source: "image", target: `${root}/target` };
    expect(() => mountErofs(mount)).toThrow("not absolute");
  });
});
