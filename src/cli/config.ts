/** `dedup-snapshotter config`: the configuration in effect. */
import { defineCommand } from "citty";
import { loadConfig } from "../config/load.ts";
import { guard, printLine } from "./command.ts";

export const configCommand = defineCommand({
  meta: { name: "config", description: "Print the configuration in effect as JSON" },
  run: () => guard(() => printLine(JSON.stringify(loadConfig(process.env), undefined, 2))),
});
