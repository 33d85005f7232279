/**
 * containerd as a server: its Diff and Content services, on its own socket.
 *
 * @module
 */
import { credentials, Metadata, status, type ServiceError } from "@grpc/grpc-js";
import type { BlobReader, CallScope } from "../containerd/contract.ts";
import { AppError, type ErrorCode } from "../errors.ts";
import {
  ContentClient,
  type ReadContentResponse,
} from "./gen/containerd/services/content/v1/content.ts";
import {
  DiffClient,
  type ApplyRequest,
  type ApplyResponse,
  type DiffRequest,
  type DiffResponse,
} from "./gen/containerd/services/diff/v1/diff.ts";
import { messageBytesMax } from "./limits.ts";

/** As containerd names them in metadata (pkg/namespaces, core/leases). */
const namespaceHeader = "containerd-namespace";
const leaseHeader = "containerd-lease";

const codes: ReadonlyMap<status, ErrorCode> = new Map([
  [status.INVALID_ARGUMENT, "invalid_argument"],
  [status.NOT_FOUND, "not_found"],
  [status.ALREADY_EXISTS, "already_exists"],
  [status.FAILED_PRECONDITION, "failed_precondition"],
  [status.UNAVAILABLE, "unavailable"],
  [status.DATA_LOSS, "data_loss"],
  [status.RESOURCE_EXHAUSTED, "resource_exhausted"],
  [status.PERMISSION_DENIED, "permission_denied"],
  [status.UNIMPLEMENTED, "unimplemented"],
  [status.CANCELLED, "cancelled"],
]);

/** Whose a call to us is. */
export function scopeOf(metadata: Metadata): CallScope {
  const first = (name: string) => metadata.get(name)[0]?.toString();
  return { namespace: first(namespaceHeader), lease: first(leaseHeader) };
}

function metadataOf({ namespace, lease }: CallScope): Metadata {
  const metadata = new Metadata();
  if (namespace !== undefined) metadata.set(namespaceHeader, namespace);
  if (lease !== undefined) metadata.set(leaseHeader, lease);
  return metadata;
}

type Answer<Response> = (error: ServiceError | null, response: Response) => void;
interface Cancellable {
  cancel(): void;
}

/** Connects when it is first needed; closed with the process. */
export class ContainerdClient implements BlobReader, Disposable {
  readonly #address: string;
  readonly #diff: DiffClient;
  readonly #content: ContentClient;

  /** @param socketPath absolute */
  constructor(socketPath: string) {
    const options = {
      "grpc.max_receive_message_length": messageBytesMax,
      "grpc.max_send_message_length": messageBytesMax,
    };
    this.#address = socketPath;
    const url = `unix:${socketPath}`;
    this.#diff = new DiffClient(url, credentials.createInsecure(), options);
    this.#content = new ContentClient(url, credentials.createInsecure(), options);
  }

  apply(request: ApplyRequest, scope: CallScope, signal: AbortSignal): Promise<ApplyResponse> {
    return this.#unary("Apply", signal, (answer) =>
      this.#diff.apply(request, metadataOf(scope), answer),
    );
  }

  diff(request: DiffRequest, scope: CallScope, signal: AbortSignal): Promise<DiffResponse> {
    return this.#unary("Diff", signal, (answer) =>
      this.#diff.diff(request, metadataOf(scope), answer),
    );
  }

  async readBlob(
    digest: string,
    offsetBytes: number,
    lengthBytes: number,
    scope: CallScope,
  ): Promise<Uint8Array> {
    const request = { digest, offset: BigInt(offsetBytes), size: BigInt(lengthBytes) };
    const parts: Uint8Array[] = [];
    try {
      const stream = this.#content.read(request, metadataOf(scope));
      for await (const { data } of stream as AsyncIterable<ReadContentResponse>) parts.push(data);
    } catch (error) {
      throw this.#failure(`read blob "${digest}"`, error);
    }
    return Buffer.concat(parts);
  }

  [Symbol.dispose](): void {
    this.#diff.close();
    this.#content.close();
  }

  async #unary<Response>(
    name: string,
    signal: AbortSignal,
    start: (answer: Answer<Response>) => Cancellable,
  ): Promise<Response> {
    let call: Cancellable | undefined;
    const cancel = (): void => call?.cancel();
    try {
      signal.throwIfAborted();
      return await new Promise<Response>((resolve, reject) => {
        call = start((error, response) => (error === null ? resolve(response) : reject(error)));
        signal.addEventListener("abort", cancel, { once: true });
      });
    } catch (error) {
      throw this.#failure(`hand ${name} to containerd`, error);
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }

  /** Of the class of the answer, whose text says enough: ours would only come before it. */
  #failure(action: string, cause: unknown): AppError {
    const { code: number, details } = cause as Partial<ServiceError>;
    const code = codes.get(number ?? status.UNKNOWN) ?? "internal";
    const problem = `Cannot ${action} at "${this.#address}": ${details ?? String(cause)}`;
    if (code !== "unavailable") return new AppError(code, problem);
    return new AppError(code, problem, {
      remedy: "set containerd.address in the configuration to the socket containerd listens on",
    });
  }
}
