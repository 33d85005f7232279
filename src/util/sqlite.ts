/** Statements of many rows, so that a layer of a million chunks is not a million statements. */
import type { Database, SQLQueryBindings } from "bun:sqlite";
import { noteRows } from "./garbage.ts";

/** Rows a statement carries; SQLite's limit is 32,766 parameters (SQLITE_MAX_VARIABLE_NUMBER). */
const rowsPerStatement = 256;

/**
 * Runs `prefix VALUES (…), (…)` for all rows, some hundred at a time.
 *
 * @param rows an iterable of rows, each with `columns` values
 */
export function insertRows(
  database: Database,
  prefix: string,
  columns: number,
  rows: Iterable<readonly SQLQueryBindings[]>,
): void {
  const row = `(${Array.from({ length: columns }, () => "?").join(",")})`;
  const statementOf = (count: number) =>
    database.query(`${prefix} VALUES ${Array.from({ length: count }, () => row).join(",")}`);
  let values: SQLQueryBindings[] = [];
  for (const one of rows) {
    values.push(...one);
    if (values.length < rowsPerStatement * columns) continue;
    statementOf(rowsPerStatement).run(...values);
    noteRows(rowsPerStatement);
    values = [];
  }
  // One by one, so that the rest does not leave a prepared statement for each possible count.
  const single = statementOf(1);
  for (let at = 0; at < values.length; at += columns) single.run(...values.slice(at, at + columns));
}

/** Calls `visit` with the rows of `sql`, whose one `(…)` gets some hundred parameters at a time. */
export function selectIn<Row>(
  database: Database,
  sql: (placeholders: string) => string,
  keys: readonly SQLQueryBindings[],
  visit: (row: Row) => void,
): void {
  for (let at = 0; at < keys.length; at += rowsPerStatement) {
    const part: (SQLQueryBindings | null)[] = keys.slice(at, at + rowsPerStatement);
    // A short last part is filled up with NULLs, which match nothing: one prepared statement.
    while (part.length < rowsPerStatement) part.push(null);
    const statement = database.query<Row, SQLQueryBindings[]>(
      sql(Array.from({ length: rowsPerStatement }, () => "?").join(",")),
    );
    for (const row of statement.all(...part)) visit(row);
    noteRows(rowsPerStatement);
  }
}
