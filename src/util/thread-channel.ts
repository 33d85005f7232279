/**
 * Calls between a thread and its worker, in both directions, over `postMessage`.
 *
 * Each side registers handlers by name and calls the other's; many calls may be under way. Typed
 * errors keep their class, message, remedy and the text of their cause; stacks stay behind.
 *
 * @module
 */
import { AppError, describeError, type ErrorCode } from "../errors.ts";

interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy?: string;
}

type Message =
  | {
      readonly kind: "call";
      readonly id: number;
      readonly name: string;
      readonly argument: unknown;
    }
  | { readonly kind: "result"; readonly id: number; readonly value: unknown }
  | { readonly kind: "error"; readonly id: number; readonly error: PlainError };

export type Handler = (argument: never) => unknown;
export type Handlers = Readonly<Record<string, Handler>>;

interface PendingCall {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

function plainError(error: unknown): PlainError {
  if (!(error instanceof AppError)) return { code: "internal", message: describeError(error) };
  const plain = { code: error.code, message: describeError(error) };
  return error.remedy === undefined ? plain : { ...plain, remedy: error.remedy };
}

function revive(plain: PlainError): AppError {
  return new AppError(plain.code, plain.message, plain.remedy ? { remedy: plain.remedy } : {});
}

/** One end of a pair; give `receive` every message that arrives. */
export class ThreadChannel {
  readonly #post: (message: unknown) => void;
  readonly #handlers: Handlers;
  readonly #pending = new Map<number, PendingCall>();
  #nextId = 1;
  #closedFor: AppError | undefined;

  constructor(post: (message: unknown) => void, handlers: Handlers) {
    this.#post = post;
    this.#handlers = handlers;
  }

  /** Calls the other side's handler; rejects with its error, or once the channel is closed. */
  call<Result>(name: string, argument?: unknown): Promise<Result> {
    if (this.#closedFor !== undefined) return Promise.reject(this.#closedFor);
    const id = this.#nextId++;
    return new Promise<Result>((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve, reject });
      this.#post({ kind: "call", id, name, argument } satisfies Message);
    });
  }

  receive(data: unknown): void {
    const message = data as Message;
    if (message.kind === "call") {
      void this.#answer(message.id, message.name, message.argument);
      return;
    }
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if (message.kind === "result") pending?.resolve(message.value);
    else pending?.reject(revive(message.error));
  }

  /** The other side is gone: all calls under way are rejected, and all that come. */
  close(reason: AppError): void {
    this.#closedFor ??= reason;
    for (const pending of this.#pending.values()) pending.reject(reason);
    this.#pending.clear();
  }

  async #answer(id: number, name: string, argument: unknown): Promise<void> {
    try {
      const handler = this.#handlers[name];
      if (handler === undefined) throw new AppError("internal", `No handler for "${name}"`);
      const value = await handler(argument as never);
      this.#post({ kind: "result", id, value } satisfies Message);
    } catch (error) {
      this.#post({ kind: "error", id, error: plainError(error) } satisfies Message);
    }
  }
}
