/** `dedup-snapshotter dedupd`: brings content of lazy layers when it is read. */
import { defineCommand } from "citty";
import { loadConfig } from "../config/load.ts";
import { runDedupd } from "../dedupd.ts";
import { guard } from "./command.ts";

export const dedupdCommand = defineCommand({
  meta: {
    name: "dedupd",
    description: "Fetch content of lazy layers on demand until SIGTERM (started by serve)",
  },
  run: async () => {
    await guard(() => runDedupd(loadConfig(process.env)));
    // All is closed. But the FUSE backend may have asked the kernel for something that only the
    // successor will answer (fuse-servers.ts), who waits for this process to end.
    process.exit();
  },
});
