import { describe, expect, test } from "bun:test";
import { readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { close } from "../../../ffi/file.ts";
import { openLoop } from "../../../ffi/loop.ts";
import { loopBackingFiles, noLoopsBelow } from "../../support/loop-devices.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";

describe("openLoop()", () => {
  test.each([true, false])("gives a device that reads the file, direct I/O %p", (directIo) => {
    using scratch = scratchFolder("unit");
    const file = `${scratch.path}/file`;
    writeFileSync(file, "b".repeat(8192));
    const device = openLoop(file, directIo);
    expect(device.directIo).toBe(directIo);
    expect(readFileSync(device.path, "latin1")).toBe("b".repeat(8192));
    close(device.fd);
  });

  test("gives the same device again while it is held, and frees it afterwards", async () => {
    using scratch = scratchFolder("unit");
    const file = `${scratch.path}/file`;
    writeFileSync(file, "");
    truncateSync(file, 1 << 30);
    const first = openLoop(file, true);
    const second = openLoop(file, true);
    expect(second.path).toBe(first.path);
    close(first.fd);
    expect(loopBackingFiles(scratch.path)).toEqual([file]);
    close(second.fd);
    await noLoopsBelow(scratch.path);
  });

  test("does not take the device of a deleted file of that name", () => {
    using scratch = scratchFolder("unit");
    const file = `${scratch.path}/file`;
    writeFileSync(file, "1".repeat(4096));
    const first = openLoop(file, false);
    rmSync(file);
    writeFileSync(file, "2".repeat(4096));
    const second = openLoop(file, false);
    expect(second.path).not.toBe(first.path);
    expect(readFileSync(second.path, "latin1")).toBe("2".repeat(4096));
    close(second.fd);
    close(first.fd);
  });

  test("fails for a missing file", () => {
    expect(() => openLoop("/missing", false)).toThrow("ENOENT");
  });
});
