/**
 * Child processes of the scripts and tests.
 *
 * Every child runs in a process group of its own, so that a stop reaches its children too; groups
 * still alive when the program ends are killed.
 *
 * @module
 */
import { closeSync, openSync } from "node:fs";

/** Output kept of a command; the middle of anything longer is of no use in a message. */
const messageOutputBytesMax = 4000;

export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly exitCode: number;

  constructor(command: readonly string[], exitCode: number, output: string) {
    super(`${command.join(" ")} exited with ${exitCode}\n${output.slice(-messageOutputBytesMax)}`);
    this.exitCode = exitCode;
  }
}

export interface CommandOptions {
  readonly cwd?: string;
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | Uint8Array;
}

export interface CommandResult {
  /** 128 + number where a signal ended the command. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const groups = new Set<number>();

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is gone, which is what a kill is for.
  }
}

/** Kills what is still running of everything started here. */
export function killAllGroups(): void {
  for (const pid of groups) killGroup(pid, "SIGKILL");
  groups.clear();
}

process.on("exit", killAllGroups);

/** Runs a command to its end, whatever its exit code is. */
export async function tryCommand(
  command: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const child = Bun.spawn([...command], {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
    stdin: options.stdin === undefined ? "ignore" : Buffer.from(options.stdin),
    stdout: "pipe",
    stderr: "pipe",
    detached: true,
  });
  groups.add(child.pid);
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  groups.delete(child.pid);
  return { exitCode, stdout, stderr };
}

/** Runs a command that has to succeed; resolves with its standard output. */
export async function runCommand(
  command: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const result = await tryCommand(command, options);
  if (result.exitCode !== 0) {
    throw new CommandError(command, result.exitCode, result.stdout + result.stderr);
  }
  return result.stdout;
}

/** Runs a command that has to succeed and to print a line; resolves with when it did, in ms. */
export async function timeUntilLine(command: readonly string[], line: string): Promise<number> {
  const startMs = performance.now();
  const child = Bun.spawn([...command], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  groups.add(child.pid);
  const errors = child.stderr.text();
  let output = "";
  let lineMs: number | undefined;
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    output += piece;
    if (output.includes(`${line}\n`)) lineMs ??= performance.now() - startMs;
  }
  const exitCode = await child.exited;
  groups.delete(child.pid);
  if (exitCode === 0 && lineMs !== undefined) return lineMs;
  throw new CommandError(command, exitCode, output + (await errors));
}

export interface AttachedOptions extends Omit<CommandOptions, "stdin"> {
  /** The command and its children are killed after this time. Default: never. */
  readonly timeoutMs?: number;
}

/** Runs a command with the terminal of this process; resolves with its exit code. */
export async function runAttached(
  command: readonly string[],
  options: AttachedOptions = {},
): Promise<number> {
  const child = Bun.spawn([...command], {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
  });
  groups.add(child.pid);
  const { timeoutMs } = options;
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => killGroup(child.pid, "SIGKILL"), timeoutMs);
  const exitCode = await child.exited;
  clearTimeout(timer);
  groups.delete(child.pid);
  return exitCode;
}

export interface Service {
  readonly pid: number;
  /** Resolves when the process has ended; 128 + number where a signal ended it. */
  readonly exited: Promise<number>;
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL after a grace period; resolves with the exit code. */
  stop(graceMs?: number): Promise<number>;
  /** SIGKILL to the whole group. */
  kill(): Promise<number>;
}

const stopGraceMs = 20_000;

/** Starts a process that runs until it is stopped, with its output appended to a log file. */
export function startService(
  command: readonly string[],
  logFile: string,
  options: Omit<CommandOptions, "stdin"> = {},
): Service {
  const log = openSync(logFile, "a");
  const child = Bun.spawn([...command], {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
    stdio: ["ignore", log, log],
    detached: true,
  });
  closeSync(log);
  groups.add(child.pid);
  const exited = child.exited.then((exitCode) => {
    killGroup(child.pid, "SIGKILL");
    groups.delete(child.pid);
    return exitCode;
  });
  return {
    pid: child.pid,
    exited,
    signal: (signal) => child.kill(signal),
    async stop(graceMs = stopGraceMs) {
      child.kill("SIGTERM");
      const timer = setTimeout(() => killGroup(child.pid, "SIGKILL"), graceMs);
      const exitCode = await exited;
      clearTimeout(timer);
      return exitCode;
    },
    kill() {
      killGroup(child.pid, "SIGKILL");
      return exited;
    },
  };
}

const pollIntervalMs = 20;

/**
 * Waits for a condition of another process that announces nothing.
 *
 * @param what completes the sentence "… within N s" of the error
 */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 30_000,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`${what} within ${timeoutMs / 1000} s`);
    await Bun.sleep(pollIntervalMs);
  }
}
