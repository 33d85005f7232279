/** The mount of the FUSE backend, from one process to the next. */
import { expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { shutdownKeeper } from "../../../src/ondemand/keeper-connection.ts";
import { BackendFixture } from "../../support/ondemand/backend-fixture.ts";
import { type ServingProcess, startServing } from "../../support/ondemand/serving.ts";

test("openFuseBackend() takes over the mount of a root that is a link", async () => {
  const fixture = new BackendFixture("fuse");
  using folder = scratchFolder("link");
  const root = join(folder.path, "root");
  symlinkSync(fixture.root, root);
  const keeperSocket = fixture.path("keeper.sock");
  const serving = [startServing({ backend: "fuse", root, keeperSocket })];
  try {
    const [first] = serving as [ServingProcess];
    fixture.mountAt(await first.path, { method: "file", directIo: true });
    const reading = fixture.read("large", "inOrder");
    await first.asked;
    await first.end("killed");
    const second = startServing({ backend: "fuse", root, keeperSocket });
    serving.push(second);
    second.release();
    expect(await reading.report).toEqual(fixture.allRightOf("large"));
  } finally {
    for (const process of serving) await process.end("killed");
    await shutdownKeeper(keeperSocket);
    await fixture.dispose();
  }
});
