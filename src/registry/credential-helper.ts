/**
 * docker's credential helpers: `docker-credential-<name> get`, the server on stdin, JSON on stdout
 * (github.com/docker/docker-credential-helpers).
 *
 * @module
 */
import { z } from "zod";
import { AppError, describeError } from "../errors.ts";
import type { Credentials, RunHelper } from "./docker-config.ts";
import { tokenBodyBytesMax } from "./limits.ts";

/** A name, never a path: the configuration must not choose what is run. */
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const notFoundText = "credentials not found";
/** As docker marks a secret that is an identity token. */
const tokenUser = "<token>";

const answerSchema = z.object({ Username: z.string(), Secret: z.string() });

/**
 * Runs helpers from the PATH. A helper that fails rejects with `unavailable`: it may be one that
 * asks a service of the cloud.
 */
export function credentialHelper(timeoutMs: number, environment = process.env): RunHelper {
  return async (name, server) => {
    if (!namePattern.test(name)) throw failed(name, "its name is not one of a helper");
    const { exitCode, output } = await run(`docker-credential-${name}`, server, {
      timeout: timeoutMs,
      env: environment,
    });
    if (exitCode !== 0 && output.includes(notFoundText)) return undefined;
    if (exitCode !== 0) throw failed(name, `exited with ${exitCode ?? "a signal"}`);
    return readAnswer(name, output);
  };
}

async function run(
  program: string,
  server: string,
  options: { readonly timeout: number; readonly env: NodeJS.ProcessEnv },
) {
  try {
    const child = Bun.spawn([program, "get"], {
      ...options,
      stdin: Buffer.from(server),
      stdout: "pipe",
      stderr: "ignore",
      killSignal: "SIGKILL",
      maxBuffer: tokenBodyBytesMax,
    });
    const [output] = await Promise.all([readAll(child.stdout, options.timeout), child.exited]);
    return { exitCode: child.exitCode, output };
  } catch (error) {
    throw failed(program, describeError(error));
  }
}

/** What the helper started, such as an agent, may keep the stream open when the helper is gone. */
async function readAll(stream: ReadableStream<Uint8Array>, timeoutMs: number): Promise<string> {
  const reader = stream.getReader();
  const timer = setTimeout(() => void reader.cancel(), timeoutMs);
  try {
    const parts: Uint8Array[] = [];
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
    }
    return Buffer.concat(parts).toString();
  } finally {
    clearTimeout(timer);
  }
}

function readAnswer(name: string, output: string): Credentials | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(output);
  } catch {
    throw failed(name, "answered with no JSON");
  }
  const parsed = answerSchema.safeParse(answer);
  if (!parsed.success) throw failed(name, "answered without Username and Secret");
  const { Username: username, Secret: secret } = parsed.data;
  if (secret === "") return undefined;
  if (username === tokenUser) return { kind: "identity", token: secret };
  return { kind: "password", username, password: secret };
}

/** The output is in no message: it may hold a secret. */
function failed(name: string, problem: string): AppError {
  return new AppError("unavailable", `Credential helper "${name}": ${problem}`, {
    remedy: "run the helper by hand; it must be in the PATH of this program",
  });
}
