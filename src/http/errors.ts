/**
 * Errors as HTTP answers: the one place that maps error classes to statuses.
 *
 * @module
 */
import type { Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { AppError, describeError, type ErrorCode } from "../errors.ts";

const statusOfCode: Readonly<Record<ErrorCode, ContentfulStatusCode>> = {
  invalid_argument: 400,
  permission_denied: 403,
  not_found: 404,
  already_exists: 409,
  failed_precondition: 409,
  cancelled: 499 as ContentfulStatusCode,
  internal: 500,
  data_loss: 500,
  unimplemented: 501,
  unavailable: 503,
  resource_exhausted: 507,
};

/** Unknown paths, and what handlers throw, are answered with `{error, code, remedy?}`. */
export function answerErrors(app: Hono): void {
  app.notFound((context) => {
    return context.json({ error: `No such path: ${context.req.path}`, code: "not_found" }, 404);
  });
  app.onError((error, context) => {
    const code = error instanceof AppError ? error.code : "internal";
    const remedy = error instanceof AppError ? error.remedy : undefined;
    const answer = { error: describeError(error), code, ...(remedy && { remedy }) };
    return context.json(answer, statusOfCode[code]);
  });
}
