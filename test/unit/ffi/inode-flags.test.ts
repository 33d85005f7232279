import { statfsSync } from "node:fs";
import { describe, expect, test } from "bun:test";
import { spreadSubdirectories } from "../../../ffi/inode-flags.ts";
import { scratchBase, scratchFolder } from "../../../scripts/lib/temp.ts";
import { tryCommand } from "../../../scripts/lib/process.ts";

/** EXT4_SUPER_MAGIC, include/uapi/linux/magic.h. */
const ext4Magic = 0xef53;
const isExt4 = statfsSync(scratchBase()).type === ext4Magic;

describe("spreadSubdirectories", () => {
  test.if(isExt4)("sets the flag T and keeps the others", async () => {
    using scratch = scratchFolder("unit");
    const lsattr = async () => (await tryCommand(["lsattr", "-d", scratch.path])).stdout;
    const before = (await lsattr()).split(" ")[0];
    // Twice: the second time it is there already.
    spreadSubdirectories(scratch.path);
    spreadSubdirectories(scratch.path);
    const after = (await lsattr()).split(" ")[0];
    expect(after).toContain("T");
    expect(after?.replace("T", "-")).toBe(before);
  });

  test("names the file system call that fails where there are no such flags", () => {
    expect(() => spreadSubdirectories("/proc")).toThrow("FS_IOC_GETFLAGS");
  });
});
