/**
 * The backend that needs nothing of the kernel: a pack is exposed when all of it is there.
 *
 * @module
 */
import { Gate } from "../util/gate.ts";
import { MiB } from "../util/bytes.ts";
import type { Demand, LazyBackend, LazyPack } from "./contract.ts";

/** Asked for at once, each with its own time-out. */
const windowBytes = 16 * MiB;
const windowsMax = 4;

export function openEager({ demand }: { readonly demand: Demand }): Promise<LazyBackend> {
  return Promise.resolve({
    name: "eager",
    expose: async (pack: LazyPack) => {
      await demandAll(pack, demand);
      return pack.path;
    },
    complete: () => Promise.resolve(),
    withdraw: () => Promise.resolve(),
    close: () => Promise.resolve(),
  });
}

async function demandAll({ packId, pieces, presence }: LazyPack, demand: Demand): Promise<void> {
  if (presence.isComplete) return;
  const gate = new Gate(windowsMax);
  let failure: { readonly reason: unknown } | undefined;
  const fill = async (offsetBytes: number): Promise<void> => {
    if (failure !== undefined) return;
    const lengthBytes = Math.min(windowBytes, pieces.packBytes - offsetBytes);
    try {
      await demand({ packId, offsetBytes, lengthBytes });
    } catch (error) {
      failure ??= { reason: error };
    }
  };
  const windows: Promise<void>[] = [];
  for (let offsetBytes = 0; offsetBytes < pieces.packBytes; offsetBytes += windowBytes) {
    windows.push(gate.run(() => fill(offsetBytes)));
  }
  // All are waited for, so that nothing of a failed attempt goes on behind the next.
  await Promise.all(windows);
  if (failure !== undefined) throw failure.reason;
}
