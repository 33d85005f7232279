/** Whether the tables of the index agree with each other. */
import type { Database } from "bun:sqlite";
import { blocksFor, packIdMax, packIdMin, packOfBlock } from "../store/layout.ts";
import type { Report } from "./finding.ts";

export function checkIndex(database: Database, report: Report): void {
  checkOverlap(database, report);
  checkUses(database, report);
  checkDangling(database, report);
}

/** Chunks lie inside one pack each and share no block. */
function checkOverlap(database: Database, report: Report): void {
  const chunks = database
    .query<{ block: number; size_bytes: number }, []>(
      "SELECT block, size_bytes FROM chunks ORDER BY block",
    )
    .iterate();
  let end = 0;
  for (const chunk of chunks) {
    const next = chunk.block + blocksFor(chunk.size_bytes);
    const pack = packOfBlock(chunk.block);
    const isInside = pack >= packIdMin && pack <= packIdMax && packOfBlock(next - 1) === pack;
    if (chunk.block < end || !isInside) {
      const problem = chunk.block < end ? "overlaps the chunk before it" : "is outside of any pack";
      const repairs = [{ kind: "forget_chunk", block: chunk.block }] as const;
      report({ subject: `chunk at block ${chunk.block}`, problem, repairs });
    }
    end = Math.max(end, next);
  }
}

function checkUses(database: Database, report: Report): void {
  const wrong = database
    .query<{ block: number; uses: number; found: number }, []>(
      `SELECT chunks.block, chunks.uses, coalesce(sum(layer_chunks.uses), 0) AS found
       FROM chunks LEFT JOIN layer_chunks ON layer_chunks.block = chunks.block
       GROUP BY chunks.block HAVING found <> chunks.uses OR found = 0`,
    )
    .iterate();
  for (const row of wrong) {
    const problem = `is counted as used ${row.uses} times, layers use it ${row.found} times`;
    const repairs = [{ kind: "recount" }] as const;
    report({ subject: `chunk at block ${row.block}`, problem, repairs });
  }
}

function checkDangling(database: Database, report: Report): void {
  const dangling = database
    .query<{ layer: number; count: number }, []>(
      `SELECT layer, count(*) AS count FROM layer_chunks
       WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.block = layer_chunks.block)
          OR NOT EXISTS (SELECT 1 FROM layers WHERE layers.id = layer_chunks.layer)
       GROUP BY layer`,
    )
    .iterate();
  for (const row of dangling) {
    const problem = `uses ${row.count} chunks, but it or they are not in the index`;
    const repairs = [{ kind: "give_up_layer", layerId: row.layer }] as const;
    report({ subject: `layer ${row.layer}`, problem, repairs });
  }
}
