/** Starting other commands of this program as processes that outlive this one. */
import { join } from "node:path";

/** What belongs to this process alone: how systemd speaks to it, and what would change Bun. */
const ownVariables = [
  "NOTIFY_SOCKET",
  "WATCHDOG_PID",
  "WATCHDOG_USEC",
  "LISTEN_PID",
  "LISTEN_FDS",
  "LISTEN_FDNAMES",
  "FDSTORE",
  "BUN_OPTIONS",
] as const;

/** Files of a compiled program lie below this folder, which only the program sees. */
const compiledFolder = "/$bunfs/";

/** This program with other parameters, compiled or run from its source. */
export function ownCommand(parameters: readonly string[]): string[] {
  if (import.meta.dir.startsWith(compiledFolder)) return [process.execPath, ...parameters];
  return [process.execPath, join(import.meta.dir, "..", "main.ts"), ...parameters];
}

export interface DetachedOptions {
  /** Added to the environment of this process. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Whether it writes its log where this process does; nowhere otherwise. */
  readonly hasLog: boolean;
}

export interface DetachedProcess {
  readonly pid: number;
  /** Resolves when it has ended. */
  readonly exited: Promise<void>;
}

/** Starts a process in a session of its own, which does not end with this one. */
export function startDetached(
  command: readonly string[],
  { environment = {}, hasLog }: DetachedOptions,
): DetachedProcess {
  const inherited = { ...process.env };
  for (const name of ownVariables) delete inherited[name];
  const child = Bun.spawn([...command], {
    cwd: "/",
    env: { ...inherited, ...environment },
    stdio: ["ignore", "ignore", hasLog ? "inherit" : "ignore"],
    detached: true,
  });
  child.unref();
  return { pid: child.pid, exited: child.exited.then(() => undefined) };
}

/** Starts a keeper. It has no log: it would keep that open longer than anybody reads it. */
export function startKeeper(socketPath: string): DetachedProcess {
  return startDetached(ownCommand(["keeper", socketPath]), { hasLog: false });
}
