/** The writer of each format. */
import { writeEstargz } from "../estargz/write.ts";
import type { LazyFormat } from "../model.ts";
import { writeZstdChunked } from "../zstd-chunked/write.ts";
import type { LazyWriter } from "./layer-writer.ts";

export const lazyWriters: Readonly<Record<LazyFormat, LazyWriter>> = {
  estargz: writeEstargz,
  "zstd-chunked": writeZstdChunked,
};
