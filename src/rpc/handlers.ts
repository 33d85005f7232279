/** From functions that return or throw to handlers as grpc-js calls them. */
import type {
  handleServerStreamingCall,
  handleUnaryCall,
  ServerUnaryCall,
  ServerWritableStream,
} from "@grpc/grpc-js";
import { AppError, describeError } from "../errors.ts";
import type { Logger } from "../util/logger.ts";
import { statusOf } from "./status.ts";

/** Answers one request with what `handle` resolves to, or with the status of what it throws. */
export function unary<Request, Response>(
  name: string,
  log: Logger,
  handle: (
    request: Request,
    call: ServerUnaryCall<Request, Response>,
  ) => Promise<Response> | Response,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const answer = async (): Promise<void> => {
      try {
        const response = await handle(call.request, call);
        callback(null, response);
      } catch (error) {
        logFailure(log, name, error);
        callback(statusOf(error));
      }
    };
    void answer();
  };
}

/** Answers with the messages of `handle`, one at a time, no faster than the client reads. */
export function streaming<Request, Response>(
  name: string,
  log: Logger,
  handle: (request: Request) => Iterable<Response>,
): handleServerStreamingCall<Request, Response> {
  return (call) => {
    const answer = async (): Promise<void> => {
      try {
        await writeAll(call, handle(call.request));
        call.end();
      } catch (error) {
        logFailure(log, name, error);
        call.emit("error", statusOf(error));
      }
    };
    void answer();
  };
}

/** Stops at the next message after the client is gone. */
async function writeAll<Request, Response>(
  call: ServerWritableStream<Request, Response>,
  messages: Iterable<Response>,
): Promise<void> {
  for (const message of messages) {
    if (call.cancelled) return;
    if (!call.write(message)) await drained(call);
  }
}

const endings = ["drain", "cancelled", "close", "error"] as const;

/** Resolves when the stream takes more or never will. */
function drained(call: ServerWritableStream<unknown, unknown>): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      // The others too: a stream of many pages would collect a listener with each.
      for (const ending of endings) call.off(ending, done);
      resolve();
    };
    for (const ending of endings) call.on(ending, done);
    if (call.cancelled) done();
  });
}

/** What a client did wrong is its to report; what we did is logged here, with its stack. */
function logFailure(log: Logger, name: string, error: unknown): void {
  const fields = { rpc: name, reason: describeError(error) };
  if (error instanceof AppError && error.code !== "internal" && error.code !== "data_loss") {
    const remedy = error.remedy === undefined ? {} : { remedy: error.remedy };
    log.debug({ ...fields, code: error.code, ...remedy }, `${name} failed`);
    return;
  }
  const stack = error instanceof Error ? error.stack : undefined;
  const remedy = error instanceof AppError ? error.remedy : undefined;
  log.error({ ...fields, stack, remedy }, `${name} failed`);
}
