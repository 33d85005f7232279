/** The routes of the admin API for lazy images. */
import type { Hono } from "hono";
import { z } from "zod";
import type { LazyView } from "../claim/lazy-view.ts";
import type { Prefetches } from "../claim/prefetches.ts";
import { AppError } from "../errors.ts";

/** What was asked for has begun, and goes on after the answer. */
const accepted = 202;
const requestBytesMax = 65_536;

export interface LazyDependencies {
  readonly view: () => Promise<LazyView>;
  readonly prefetches: Pick<Prefetches, "start" | "status">;
}

const prefetchRequest = z.strictObject({
  image: z.string().min(1),
  /** The name of a file below `prefetch.trace_dir`. */
  trace: z.string().min(1).optional(),
});

export function addLazyRoutes(app: Hono, { view, prefetches }: LazyDependencies): void {
  app.get("/lazy", async (context) => context.json(await view()));
  app.post("/prefetch", async (context) => {
    const { image, trace } = parseRequest(await context.req.text());
    return context.json(await prefetches.start(image, trace), accepted);
  });
  app.get("/prefetch/:id{[0-9]+}", async (context) =>
    context.json(await prefetches.status(Number(context.req.param("id")))),
  );
}

function parseRequest(text: string): z.infer<typeof prefetchRequest> {
  let value: unknown;
  try {
    value = text.length <= requestBytesMax ? JSON.parse(text) : undefined;
  } catch (cause) {
    throw new AppError("invalid_argument", "The request is not JSON", { cause });
  }
  const result = prefetchRequest.safeParse(value);
  if (result.success) return result.data;
  const problem = z.prettifyError(result.error).replaceAll(/\s+/g, " ");
  throw new AppError("invalid_argument", `The request is not {image, trace?}: ${problem}`);
}
