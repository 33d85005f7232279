/**
 * The effective configuration: defaults, then the file, then the environment.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import type { z } from "zod";
import { AppError, describeError } from "../errors.ts";
import { configSchema, type Config } from "./schema.ts";

const defaultPath = "/etc/dedup-snapshotter/config.json";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Environment variables that override a key of the file. */
const overrides = { ROOT: "root", ADDRESS: "address", LOG_LEVEL: "log_level" } as const;

/**
 * Reads the file that `CONFIG` names, or the default one if it exists.
 *
 * @throws AppError `invalid_argument`, naming the key, what was expected and where it was set
 */
export function loadConfig(environment: Environment): Config {
  const path = environment["CONFIG"] || defaultPath;
  const input = readFile(path, Boolean(environment["CONFIG"]));
  const origins: Record<string, string> = {};
  for (const [variable, key] of Object.entries(overrides)) {
    const value = environment[variable];
    if (!value) continue;
    input[key] = value;
    origins[key] = `environment variable ${variable}`;
  }
  const result = configSchema.safeParse(input);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => describeIssue(issue, path, origins));
  throw new AppError("invalid_argument", problems.join("; "), {
    remedy: "correct the key; `dedup-snapshotter config` prints the configuration in effect",
  });
}

function readFile(path: string, isRequired: boolean): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (!isRequired && (error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw new AppError("invalid_argument", `Cannot read "${path}": ${describeError(error)}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new AppError("invalid_argument", `"${path}" is not JSON: ${describeError(error)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new AppError("invalid_argument", `"${path}" holds no JSON object`);
  }
  return { ...value };
}

function describeIssue(
  issue: z.core.$ZodIssue,
  path: string,
  origins: Readonly<Record<string, string>>,
): string {
  const keys = issue.path.map(String);
  const origin = origins[keys[0] ?? ""] ?? `"${path}"`;
  if (issue.code === "unrecognized_keys") {
    const unknown = issue.keys.map((key) => `"${[...keys, key].join(".")}"`).join(", ");
    return `Unknown key ${unknown} in ${origin}`;
  }
  const message =
    issue.code === "invalid_union"
      ? [...new Set(issue.errors.flat().map((error) => error.message))].join(", or ")
      : issue.message;
  return `Wrong value of "${keys.join(".")}" in ${origin}: ${message}`;
}
