/**
 * A tar as a list: where each entry lies, so that entries can be written in another order.
 *
 * @module
 */
import type { TarEntry } from "../../tar/entry.ts";
import { blockBytes } from "../../tar/format.ts";
import { TarReader } from "../../tar/reader.ts";
import { alignUp } from "../../util/bytes.ts";
import { tocEntriesMax } from "../limits.ts";
import { isSpecial, notLazy, requireExpressible } from "./tar-parts.ts";

export interface TarItem {
  readonly entry: TarEntry;
  /** Of the first of its headers. */
  readonly start: number;
  readonly contentStart: number;
  readonly contentBytes: number;
}

/**
 * All entries but files that are there for the format's sake.
 *
 * @throws AppError `unimplemented` for what a table of contents cannot say
 */
export async function listTarItems(tar: AsyncIterable<Uint8Array>): Promise<TarItem[]> {
  const reader = new TarReader(tar, { globalRecords: "ignore" });
  const items: TarItem[] = [];
  let end = 0;
  for (let entry = await reader.next(); entry; entry = await reader.next()) {
    const contentStart = reader.position;
    const contentBytes = entry.type === "file" ? entry.sizeBytes : 0;
    if (!isSpecial(entry)) {
      requireExpressible(entry, reader.isSparse);
      if (items.length >= tocEntriesMax) throw notLazy(entry, "is one entry too many for a table");
      items.push({ entry, start: end, contentStart, contentBytes });
    }
    end = alignUp(contentStart + contentBytes, blockBytes);
  }
  return items;
}
