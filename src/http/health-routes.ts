/** The routes of the admin API for who looks after the daemon: does it live, may it be used. */
import type { Hono } from "hono";
import type { Readiness } from "../claim/readiness.ts";
import { version } from "../version.ts";

const ready = 200;
const notReady = 503;

export function addHealthRoutes(app: Hono, readiness: () => Promise<Readiness>): void {
  // Whoever answers is alive: all that blocks is done in other threads.
  app.get("/healthz", (context) => context.json({ status: "ok", version }));
  app.get("/readyz", async (context) => {
    const answer = await readiness();
    return context.json(answer, answer.ready ? ready : notReady);
  });
}
