/** `dedup-snapshotter serve`: the daemon. */
import { defineCommand } from "citty";
import { loadConfig } from "../config/load.ts";
import { runDaemon } from "../daemon.ts";
import { guard } from "./command.ts";

export const serveCommand = defineCommand({
  meta: { name: "serve", description: "Serve containerd until SIGTERM" },
  args: {
    units: {
      type: "boolean",
      default: false,
      description: "dedupd is a systemd unit of its own: wait for it instead of starting it",
    },
  },
  run: ({ args }) => guard(() => runDaemon(loadConfig(process.env), args.units)),
});
