/** The routes of the admin API for lazy images. */
import type { Hono } from "hono";
import { z } from "zod";
import type { LazyLayers } from "../claim/lazy-layers.ts";
import type { LazyView } from "../claim/lazy-view.ts";
import type { Prefetches } from "../claim/prefetches.ts";
import { AppError } from "../errors.ts";
import { traceBytesMax } from "../ondemand/trace/format.ts";

/** What was asked for has begun, and goes on after the answer. */
const accepted = 202;
const ok = 200;
const requestBytesMax = 65_536;
const textType = { "content-type": "text/plain; charset=utf-8" } as const;

export interface LazyDependencies {
  readonly view: () => Promise<LazyView>;
  readonly prefetches: Pick<Prefetches, "start" | "status">;
  readonly traces: Pick<LazyLayers, "trace" | "putTrace">;
}

const prefetchRequest = z.strictObject({
  image: z.string().min(1),
  /** The name of a file below `prefetch.trace_dir`. */
  trace: z.string().min(1).optional(),
});

export function addLazyRoutes(app: Hono, { view, prefetches, traces }: LazyDependencies): void {
  app.get("/lazy", async (context) => context.json(await view()));
  app.post("/prefetch", async (context) => {
    const { image, trace } = parseRequest(await context.req.text());
    return context.json(await prefetches.start(image, trace), accepted);
  });
  app.get("/prefetch/:id{[0-9]+}", async (context) =>
    context.json(await prefetches.status(Number(context.req.param("id")))),
  );
  app.get("/traces/:image", async (context) =>
    context.body(await traces.trace(context.req.param("image")), ok, textType),
  );
  app.put("/traces/:image", async (context) => {
    const text = await context.req.text();
    if (text.length > traceBytesMax) {
      throw new AppError("resource_exhausted", `A trace has at most ${traceBytesMax} bytes`);
    }
    return context.json(await traces.putTrace(context.req.param("image"), text));
  });
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
