/** The entry point: one binary, several commands. */
import { defineCommand, runMain } from "citty";
import { version } from "./version.ts";

const mainCommand = defineCommand({
  meta: {
    name: "dedup-snapshotter",
    version,
    description: "A containerd snapshotter with block-level dedup on EROFS",
  },
  // Each loads what it needs, when it is asked for: the keeper stays small.
  subCommands: {
    serve: async () => (await import("./cli/serve.ts")).serveCommand,
    stats: async () => (await import("./cli/stats.ts")).statsCommand,
    files: async () => (await import("./cli/files.ts")).filesCommand,
    chunks: async () => (await import("./cli/chunks.ts")).chunksCommand,
    check: async () => (await import("./cli/check.ts")).checkCommand,
    recompress: async () => (await import("./cli/recompress.ts")).recompressCommand,
    convert: async () => (await import("./cli/convert.ts")).convertCommand,
    lazy: async () => (await import("./cli/lazy.ts")).lazyCommand,
    prefetch: async () => (await import("./cli/prefetch.ts")).prefetchCommand,
    trace: async () => (await import("./cli/trace.ts")).traceCommand,
    config: async () => (await import("./cli/config.ts")).configCommand,
    dedupd: async () => (await import("./cli/dedupd.ts")).dedupdCommand,
    keeper: async () => (await import("./cli/keeper.ts")).keeperCommand,
  },
});

await runMain(mainCommand);
