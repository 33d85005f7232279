/**
 * The routes of dedupd's control API, as `ondemand/control.ts` describes them.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import { AppError } from "../errors.ts";
import type { z } from "zod";
import { type DedupdControl, prefetchSchema, traceSchema } from "../ondemand/control.ts";
import { answerErrors } from "./errors.ts";

export function createControlApp(control: DedupdControl): Hono {
  const app = new Hono();
  app.get("/packs", (context) => context.json(control.packs()));
  app.get("/packs/:id", (context) => context.json(control.pack(packIdOf(context))));
  app.put("/packs/:id", async (context) => {
    return context.json({ path: await control.expose(packIdOf(context)) });
  });
  app.delete("/packs/:id", async (context) => {
    await control.withdraw(packIdOf(context));
    return context.json({});
  });
  app.post("/packs/:id/prefetch", async (context) => {
    const request = await bodyOf(context, prefetchSchema);
    return context.json(control.prefetch(packIdOf(context), request));
  });
  app.get("/traces/:image", (context) => context.json(control.trace(context.req.param("image"))));
  app.put("/traces/:image", async (context) => {
    const trace = await bodyOf(context, traceSchema);
    return context.json(control.putTrace(context.req.param("image"), trace));
  });
  app.get("/status", async (context) => context.json(await control.status()));
  app.get("/events", async (context) => {
    return context.json(await control.events(naturalNumber(context.req.query("after") ?? "0")));
  });
  answerErrors(app);
  return app;
}

async function bodyOf<T>(context: Context, schema: z.ZodType<T>): Promise<T> {
  const text = await context.req.text();
  let value: unknown;
  try {
    value = text === "" ? {} : JSON.parse(text);
  } catch (cause) {
    throw new AppError("invalid_argument", "The request is not JSON", { cause });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue?.path.join(".") ?? "";
  throw new AppError("invalid_argument", `Wrong value of "${where}": ${issue?.message}`);
}

function packIdOf(context: Context): number {
  return naturalNumber(context.req.param("id") ?? "");
}

function naturalNumber(text: string): number {
  if (/^\d{1,16}$/.test(text)) return Number(text);
  throw new AppError("invalid_argument", `"${text}" is no number`);
}
