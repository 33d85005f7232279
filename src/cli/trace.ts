/** `dedup-snapshotter trace`: what the start of an image reads first, for other nodes. */
import { defineCommand } from "citty";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { AppError, describeError } from "../errors.ts";
import type { TraceStored } from "../ondemand/control.ts";
import { traceBytesMax } from "../ondemand/trace/format.ts";
import { callApi, callApiForText } from "./admin-api.ts";
import { guard, printLine } from "./command.ts";

const image = { type: "positional", description: "As it was pulled", required: true } as const;

const exportCommand = defineCommand({
  meta: { name: "export", description: "Write the trace of an image" },
  args: {
    image,
    file: { type: "positional", description: "Where to; else the output", required: false },
  },
  run: ({ args }) =>
    guard(async () => {
      const text = await callApiForText("GET", pathOf(args.image));
      if (args.file === undefined) process.stdout.write(text);
      else writeFileSync(args.file, text);
    }),
});

const importCommand = defineCommand({
  meta: { name: "import", description: "Take a trace for what the image reads first" },
  args: {
    image,
    file: { type: "positional", description: "Lines that begin with a SHA-256", required: true },
  },
  run: ({ args }) =>
    guard(async () => {
      const text = readTraceFile(args.file);
      const { pieces } = await callApi<TraceStored>("PUT", pathOf(args.image), text);
      printLine(`${pieces} chunks will be fetched first when ${args.image} is pulled`);
    }),
});

export const traceCommand = defineCommand({
  meta: { name: "trace", description: "Carry over what an image reads first at its start" },
  subCommands: { export: exportCommand, import: importCommand },
});

function pathOf(name: string): string {
  return `/traces/${encodeURIComponent(name)}`;
}

/** A file of whoever runs the command. Throws `not_found`, `resource_exhausted`. */
export function readTraceFile(path: string): string {
  try {
    const { size } = statSync(path);
    if (size <= traceBytesMax) return readFileSync(path, "latin1");
  } catch (cause) {
    const problem = `Cannot read the trace "${path}": ${describeError(cause)}`;
    throw new AppError("not_found", problem, { cause });
  }
  throw new AppError("resource_exhausted", `"${path}" has more than ${traceBytesMax} bytes`);
}
