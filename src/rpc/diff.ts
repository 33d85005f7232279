/**
 * containerd's diff service: what we can do here, and the rest handed to containerd.
 *
 * containerd's own Diff service may be configured to ask us as one of its differs. Then what we
 * hand to it would come back to us without end; so a request that we have handed over and that
 * comes back is answered with `unimplemented`, after which containerd takes its next differ.
 *
 * @module
 */
import type { ServerUnaryCall } from "@grpc/grpc-js";
import type { CallScope } from "../containerd/contract.ts";
import type { Descriptor } from "../containerd/descriptor.ts";
import type { ApplyCall } from "../containerd/diff-service.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../util/logger.ts";
import { scopeOf } from "./containerd-client.ts";
import type {
  ApplyRequest,
  ApplyResponse,
  DiffRequest,
  DiffResponse,
  DiffServer,
} from "./gen/containerd/services/diff/v1/diff.ts";
import type { Descriptor as DescriptorMessage } from "./gen/containerd/types/descriptor.ts";
import type { Mount as MountMessage } from "./gen/containerd/types/mount.ts";
import { unary } from "./handlers.ts";

/** The Diff service of containerd itself. */
export interface DiffDelegate {
  apply(request: ApplyRequest, scope: CallScope, signal: AbortSignal): Promise<ApplyResponse>;
  diff(request: DiffRequest, scope: CallScope, signal: AbortSignal): Promise<DiffResponse>;
}

export interface DiffHandlerOptions {
  readonly service: { apply(call: ApplyCall): Promise<Descriptor | undefined> };
  readonly delegate: DiffDelegate;
  readonly log: Logger;
}

export function diffHandlers({ service, delegate, log }: DiffHandlerOptions): DiffServer {
  const handedOver = new Set<string>();
  return {
    apply: unary("Apply", log, async (request, call) => {
      const key = keyOf(request.diff?.digest, request.mounts);
      refuseReturned(handedOver, key);
      const scope = scopeOf(call.metadata);
      const signal = signalOf(call);
      const applied = await service.apply(applyCall(request, scope, signal));
      if (applied !== undefined) return { applied: descriptorMessage(applied) };
      return handOver(handedOver, key, () => delegate.apply(request, scope, signal));
    }),
    diff: unary("Diff", log, (request, call) => {
      const key = keyOf(request.ref, [...request.left, ...request.right]);
      refuseReturned(handedOver, key);
      const scope = scopeOf(call.metadata);
      return handOver(handedOver, key, () => delegate.diff(request, scope, signalOf(call)));
    }),
  };
}

/** What tells two requests apart; maps in them come back in any order. */
function keyOf(name: string | undefined, mounts: readonly MountMessage[]): string {
  return JSON.stringify([name, mounts.map(({ type, source, options }) => [type, source, options])]);
}

function refuseReturned(handedOver: ReadonlySet<string>, key: string): void {
  if (!handedOver.has(key)) return;
  throw new AppError("unimplemented", "containerd was asked to do this itself, and asks back", {
    remedy: 'leave only "walking" in the list `default` of containerd\'s diff-service',
  });
}

async function handOver<T>(
  handedOver: Set<string>,
  key: string,
  task: () => Promise<T>,
): Promise<T> {
  handedOver.add(key);
  try {
    return await task();
  } finally {
    handedOver.delete(key);
  }
}

/** Aborted when the client is gone or has lost interest. */
function signalOf(call: ServerUnaryCall<unknown, unknown>): AbortSignal {
  const controller = new AbortController();
  call.on("cancelled", () => controller.abort());
  if (call.cancelled) controller.abort();
  return controller.signal;
}

function applyCall(request: ApplyRequest, scope: CallScope, signal: AbortSignal): ApplyCall {
  const { mediaType = "", digest = "", size = 0n } = request.diff ?? {};
  return {
    blob: { mediaType, digest, sizeBytes: Number(size) },
    mounts: request.mounts,
    needsProcessor: request.payloads.size > 0,
    scope,
    signal,
  };
}

function descriptorMessage({ mediaType, digest, sizeBytes }: Descriptor): DescriptorMessage {
  return { mediaType, digest, size: BigInt(sizeBytes), annotations: new Map() };
}
