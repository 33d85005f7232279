import { describe, expect, test } from "bun:test";
import { endProcess } from "../../../src/ondemand/end-process.ts";
import { defined } from "../../../src/util/assert.ts";

describe("endProcess()", () => {
  test("ends a process that does not listen to SIGTERM", async () => {
    const script = "trap '' TERM; echo; while :; do sleep 1; done";
    const child = Bun.spawn(["sh", "-c", script], { stdio: ["ignore", "pipe", "ignore"] });
    await child.stdout.getReader().read();
    await endProcess(child.pid, 50);
    await child.exited;
    expect(child.signalCode).toBe("SIGKILL");
  });

  test("waits for no parent that does not look after its children", async () => {
    const script = "sleep 60 & echo $!; exec sleep 60";
    const parent = Bun.spawn(["sh", "-c", script], { stdio: ["ignore", "pipe", "ignore"] });
    const { value } = await parent.stdout.getReader().read();
    const orphan = Number(new TextDecoder().decode(defined(value, "a process id")));
    await endProcess(orphan, 0);
    await endProcess(orphan, 50);
    await endProcess(parent.pid, 0);
    expect(await parent.exited).not.toBe(0);
  });
});
