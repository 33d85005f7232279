/** What is said of packs. */
import type { AppError } from "../errors.ts";
import type { PackStatus } from "./control.ts";
import type { FillablePack } from "./fillable-pack.ts";

export function statusOf(pack: FillablePack, isActive: boolean, nowMs: number): PackStatus {
  const { packId, pieces, bytes, presentPieces, presentBytes, fetchedBytes, reason } = pack;
  const { image, digest } = pieces.origin;
  const state = pack.isSettled ? "complete" : isActive ? "fetching" : "waiting";
  const bytesPerSecond = pack.rate.bytesPerSecond(nowMs);
  const hasEta = state === "fetching" && bytesPerSecond >= 1;
  return {
    packId,
    image,
    digest,
    pieces: pieces.length,
    presentPieces,
    bytes,
    presentBytes,
    fetchedBytes,
    state,
    ...(reason !== undefined && { reason }),
    ...(hasEta && { etaSeconds: Math.ceil((bytes - presentBytes) / bytesPerSecond) }),
  };
}

export function failedStatus(packId: number, { message }: AppError): PackStatus {
  const nothing = { pieces: 0, presentPieces: 0, bytes: 0, presentBytes: 0, fetchedBytes: 0 };
  return { packId, image: "", digest: "", ...nothing, state: "failed", reason: message };
}
