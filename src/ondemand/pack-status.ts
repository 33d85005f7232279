/** What is said of packs. */
import type { AppError } from "../errors.ts";
import type { PackStatus } from "./control.ts";
import type { FillablePack } from "./fillable-pack.ts";

export function statusOf(pack: FillablePack, isActive: boolean, nowMs: number): PackStatus {
  const { packId, pieces, bytes, presentPieces, presentBytes, fetchedBytes, readBytes, reason } =
    pack;
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
    readBytes,
    state,
    ...(reason !== undefined && { reason }),
    ...(hasEta && { etaSeconds: Math.ceil((bytes - presentBytes) / bytesPerSecond) }),
  };
}

export function failedStatus(packId: number, { message }: AppError): PackStatus {
  const noBytes = { bytes: 0, presentBytes: 0, fetchedBytes: 0, readBytes: 0 };
  const nothing = { pieces: 0, presentPieces: 0, ...noBytes };
  return { packId, image: "", digest: "", ...nothing, state: "failed", reason: message };
}
