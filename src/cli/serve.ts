/** `dedup-snapshotter serve`: the daemon. */
import { defineCommand } from "citty";
import { loadConfig } from "../config/load.ts";
import { runDaemon } from "../daemon.ts";
import { guard } from "./command.ts";

export const serveCommand = defineCommand({
  meta: { name: "serve", description: "Serve containerd until SIGTERM" },
  run: () => guard(() => runDaemon(loadConfig(process.env))),
});
