/** `dedup-snapshotter keeper`: holds channels to the kernel; started by the others. */
import { defineCommand } from "citty";
import { runKeeper } from "../ondemand/keeper.ts";
import { guard } from "./command.ts";

export const keeperCommand = defineCommand({
  meta: {
    name: "keeper",
    description: "Keep channels to the kernel open while dedupd is replaced (started by serve)",
  },
  args: {
    socket: { type: "positional", description: "Path of its Unix socket", required: true },
  },
  run: ({ args }) => guard(() => runKeeper(args.socket)),
});
