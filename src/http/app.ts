/** The routes of the admin API. */
import { Hono } from "hono";
import type { Maintenance } from "../layer/maintenance.ts";
import type { Readiness } from "../claim/readiness.ts";
import { answerErrors } from "./errors.ts";
import { addHealthRoutes } from "./health-routes.ts";
import { addLazyRoutes, type LazyDependencies } from "./lazy-routes.ts";
import type { NodeStatistics } from "./statistics.ts";

/** What was asked for has begun, and goes on after the answer. */
const accepted = 202;

export interface ApiDependencies {
  readonly statistics: () => Promise<NodeStatistics>;
  readonly maintenance: Pick<Maintenance, "recompress" | "cancel" | "status" | "plan">;
  readonly lazy: LazyDependencies & { readonly readiness: () => Promise<Readiness> };
}

export function createApp({ statistics, maintenance, lazy }: ApiDependencies): Hono {
  const app = new Hono();
  app.get("/stats", async (context) => context.json(await statistics()));
  app.get("/recompress", (context) => context.json(maintenance.status()));
  app.get("/recompress/plan", async (context) => context.json(await maintenance.plan()));
  app.post("/recompress", (context) => context.json(maintenance.recompress(), accepted));
  app.delete("/recompress", async (context) => context.json(await maintenance.cancel()));
  addLazyRoutes(app, lazy);
  addHealthRoutes(app, lazy.readiness);
  answerErrors(app);
  return app;
}
