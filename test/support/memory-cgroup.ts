/**
 * A memory control group of the test's own, of either version of the kernel's interface
 * (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
 *
 * @module
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../../scripts/lib/process.ts";

const unified = "/sys/fs/cgroup";
const hierarchy = existsSync(join(unified, "cgroup.controllers"))
  ? { folder: unified, usage: "memory.current" }
  : { folder: join(unified, "memory"), usage: "memory.usage_in_bytes" };

export class MemoryCgroup implements Disposable {
  readonly #path = join(hierarchy.folder, `dedup-test-${crypto.randomUUID()}`);

  constructor() {
    mkdirSync(this.#path);
  }

  /** Runs a command in the group. */
  run(script: string): Promise<string> {
    const enter = `echo $$ > ${join(this.#path, "cgroup.procs")}`;
    return runCommand(["sh", "-ec", `${enter}\n${script}`]);
  }

  /** What is charged to the group now, page cache included. */
  usageBytes(): number {
    return Number(readFileSync(join(this.#path, hierarchy.usage), "latin1"));
  }

  [Symbol.dispose](): void {
    rmdirSync(this.#path);
  }
}
