/**
 * The admin API: routes, and the one place that maps error classes to HTTP statuses.
 *
 * @module
 */
import { Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { AppError, describeError, type ErrorCode } from "../errors.ts";
import type { Maintenance } from "../layer/maintenance.ts";
import type { NodeStatistics } from "./statistics.ts";

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

/** What was asked for has begun, and goes on after the answer. */
const accepted = 202;

export interface ApiDependencies {
  readonly statistics: () => Promise<NodeStatistics>;
  readonly maintenance: Pick<Maintenance, "recompress" | "cancel" | "status" | "plan">;
}

export function createApp({ statistics, maintenance }: ApiDependencies): Hono {
  const app = new Hono();
  app.get("/stats", async (context) => context.json(await statistics()));
  app.get("/recompress", (context) => context.json(maintenance.status()));
  app.get("/recompress/plan", async (context) => context.json(await maintenance.plan()));
  app.post("/recompress", (context) => context.json(maintenance.recompress(), accepted));
  app.delete("/recompress", async (context) => context.json(await maintenance.cancel()));
  app.notFound((context) => context.json({ error: `No such path: ${context.req.path}` }, 404));
  app.onError((error, context) => {
    const status = error instanceof AppError ? statusOfCode[error.code] : 500;
    const remedy = error instanceof AppError ? error.remedy : undefined;
    return context.json({ error: describeError(error), ...(remedy && { remedy }) }, status);
  });
  return app;
}
