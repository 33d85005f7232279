/** The entry point: one binary, several commands. */
import { defineCommand, runMain } from "citty";
import { checkCommand } from "./cli/check.ts";
import { chunksCommand } from "./cli/chunks.ts";
import { configCommand } from "./cli/config.ts";
import { convertCommand } from "./cli/convert.ts";
import { filesCommand } from "./cli/files.ts";
import { recompressCommand } from "./cli/recompress.ts";
import { serveCommand } from "./cli/serve.ts";
import { statsCommand } from "./cli/stats.ts";
import { version } from "./version.ts";

const mainCommand = defineCommand({
  meta: {
    name: "dedup-snapshotter",
    version,
    description: "A containerd snapshotter with block-level dedup on EROFS",
  },
  subCommands: {
    serve: serveCommand,
    stats: statsCommand,
    files: filesCommand,
    chunks: chunksCommand,
    check: checkCommand,
    recompress: recompressCommand,
    convert: convertCommand,
    config: configCommand,
  },
});

await runMain(mainCommand);
