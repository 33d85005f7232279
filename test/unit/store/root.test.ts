import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { openRoot } from "../../../src/root.ts";
import { storePaths } from "../../../src/store/paths.ts";
import { tryLockRoot } from "../../../src/store/root-lock.ts";

test("openRoot() waits with the databases for what is done when the root is locked", async () => {
  using folder = scratchFolder("root");
  const paths = storePaths(folder.path);
  let found: unknown;
  const root = await openRoot(folder.path, async () => {
    const isLocked = tryLockRoot(paths) === undefined;
    found = { isLocked, hasIndex: existsSync(paths.indexDatabase), packs: existsSync(paths.packs) };
  });
  expect(found).toEqual({ isLocked: true, hasIndex: false, packs: true });
  await root.close(true);
});
