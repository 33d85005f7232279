/**
 * Serves the test layer in a process of its own, to be killed: `bun serving.ts '{"root": …}'`.
 *
 * It writes a line of JSON when the layer is exposed, and one when it is first asked for content;
 * what it is asked for waits until a line comes to its standard input. At the end of that it stops.
 */
import { join } from "node:path";
import { projectFolder } from "../../../scripts/lib/project.ts";
import { createLogger } from "../../../src/log.ts";
import { chooseBackend } from "../../../src/ondemand/backends.ts";
import type { BackendName } from "../../../src/ondemand/contract.ts";
import { LineBuffer } from "../../../src/ondemand/keeper-protocol.ts";
import { defined } from "../../../src/util/assert.ts";
import { FakeSource } from "./fake-source.ts";
import { openKeeperClient } from "./keeper.ts";
import { openTestLayer } from "./test-layer.ts";

export interface ServingTask {
  readonly backend: BackendName;
  /** The layer is in `packs` below it. */
  readonly root: string;
  /** Undefined: nobody keeps the channel. */
  readonly keeperSocket: string | undefined;
}

export interface ServingProcess {
  /** Where the pack is exposed. */
  readonly path: Promise<string>;
  /** Resolves when content is asked for the first time. */
  readonly asked: Promise<void>;
  /** Content comes from now on. */
  release(): void;
  /** Ends it, and waits until it is gone. */
  end(how: "killed" | "stopped"): Promise<void>;
}

type Line = { readonly path: string } | { readonly asked: true };

export function startServing(task: ServingTask): ServingProcess {
  const script = `${projectFolder}/test/support/ondemand/serving.ts`;
  const child = Bun.spawn([process.execPath, script, JSON.stringify(task)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const path = Promise.withResolvers<string>();
  const asked = Promise.withResolvers<void>();
  void (async () => {
    const lines = new LineBuffer();
    for await (const bytes of child.stdout) {
      for (const text of lines.push(Buffer.from(bytes))) {
        const line = JSON.parse(text) as Line;
        if ("path" in line) path.resolve(line.path);
        else asked.resolve();
      }
    }
  })();
  return {
    path: path.promise,
    asked: asked.promise,
    release: () => {
      void child.stdin.write("\n");
      void child.stdin.flush();
    },
    end: async (how) => {
      if (how === "killed") child.kill("SIGKILL");
      else void child.stdin.end();
      await child.exited;
    },
  };
}

function say(line: Line): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function serve({ backend: name, root, keeperSocket }: ServingTask): Promise<void> {
  const layer = openTestLayer(join(root, "packs"));
  const source = new FakeSource(layer);
  const { asked, release } = source.hold();
  const { backend } = await chooseBackend(name, {
    root,
    demand: source.demand,
    keeper: keeperSocket === undefined ? undefined : openKeeperClient(keeperSocket),
    log: createLogger("silent"),
    threads: 2,
    reportSuspect: () => undefined,
    onCrash: () => process.exit(1),
  });
  say({ path: await backend.expose(layer.pack) });
  void asked.then(() => say({ asked: true }));
  for await (const _line of console) release();
  await backend.close();
  process.exit(0);
}

if (import.meta.main) await serve(JSON.parse(defined(process.argv[2], "a task")) as ServingTask);
