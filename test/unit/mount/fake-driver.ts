/** A mount driver that only notes what it was asked, and can be held or made to fail. */
import type { ImageFiles, MountDriver } from "../../../src/mount/contract.ts";

export class FakeDriver implements MountDriver {
  /** Calls as they began, such as `mount /m/7`. */
  readonly calls: string[] = [];
  readonly mounted = new Set<string>();
  /** Calls (in the same words) that fail. */
  readonly failing = new Set<string>();
  /** Calls wait for this before they do anything. */
  gate: Promise<void> = Promise.resolve();

  mount(_files: ImageFiles, target: string): Promise<void> {
    return this.#run(`mount ${target}`, () => {
      if (this.mounted.has(target)) throw new Error(`${target} is mounted twice`);
      this.mounted.add(target);
    });
  }

  unmount(target: string): Promise<void> {
    return this.#run(`unmount ${target}`, () => this.mounted.delete(target));
  }

  async #run(call: string, action: () => void): Promise<void> {
    this.calls.push(call);
    await this.gate;
    if (this.failing.has(call)) throw new Error(`${call} failed`);
    action();
  }
}
