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
  run: () => guard(() => runDedupd(loadConfig(process.env))),
});
