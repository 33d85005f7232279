/**
 * Which snapshots a List asks for: containerd's filter language.
 *
 * A filter is a comma-separated list of selectors that must all match; of several filters one is
 * enough. A selector is a field path, alone (the field is present) or with `==`, `!=` or `~=` (a Go
 * regular expression) and a value. Fields are `name`, `parent`, `kind` and `labels.<key>`, where
 * the key is written in parts joined by dots and a part may be quoted. Meaning and grammar are
 * those of containerd's pkg/filters and of its metastore; two things there surprise:
 *
 * - `!=` and `~=` take a missing field for an empty one, so `labels.x!=y` matches without label x;
 * - a regular expression that does not compile is no error, it matches nothing.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { unreachable } from "../util/assert.ts";
import type { SnapshotInfo } from "./contract.ts";
import { parseSelectors, type Selector } from "./filter-parser.ts";
import { compileGoRegexp } from "./go-regexp.ts";

/** More than any client sends; bounds what one request makes us compile. */
const filtersMax = 1024;
const filterLengthMax = 65_536;

export interface SnapshotFilter {
  matches(info: SnapshotInfo): boolean;
  /** A field all matches have this value in: what an index can look up. */
  readonly narrow: { readonly field: "name" | "parent"; readonly value: string } | undefined;
}

type Test = (info: SnapshotInfo) => boolean;

/** Throws `invalid_argument`, with the place, for a filter that does not parse. */
export function parseFilters(filters: readonly string[]): SnapshotFilter {
  if (filters.length > filtersMax) {
    throw new AppError("invalid_argument", `More than ${filtersMax} filters`);
  }
  const parsed = filters.map(parseFilter);
  const tests = parsed.map((selectors) => selectors.map(testOf));
  const narrow = parsed.length === 1 ? parsed[0]?.map(narrowOf).find(Boolean) : undefined;
  return {
    narrow,
    matches: (info) =>
      tests.length === 0 || tests.some((selectors) => selectors.every((test) => test(info))),
  };
}

function parseFilter(filter: string): readonly Selector[] {
  if (filter.length > filterLengthMax) {
    throw new AppError("invalid_argument", `A filter is longer than ${filterLengthMax}`);
  }
  return filter === "" ? [] : parseSelectors(filter);
}

function narrowOf({ fieldPath, operator, value }: Selector): SnapshotFilter["narrow"] {
  const field = fieldPath[0];
  if (operator !== "==" || (field !== "name" && field !== "parent")) return undefined;
  return { field, value };
}

function testOf({ fieldPath, operator, value }: Selector): Test {
  const read = (info: SnapshotInfo) => fieldOf(info, fieldPath);
  switch (operator) {
    case "present":
      return (info) => read(info) !== undefined;
    case "==":
      return (info) => read(info) === value;
    case "!=":
      return (info) => (read(info) ?? "") !== value;
    case "~=": {
      const pattern = compileGoRegexp(value);
      return (info) => pattern?.test(read(info) ?? "") ?? false;
    }
    default:
      return unreachable(operator);
  }
}

/** Undefined where the field is not present; a snapshot without a parent has an empty one. */
function fieldOf(info: SnapshotInfo, [field, ...rest]: readonly string[]): string | undefined {
  switch (field) {
    case "name":
      return info.name;
    case "parent":
      return info.parent;
    case "kind":
      return info.kind;
    case "labels":
      return info.labels.get(rest.join("."));
    default:
      return undefined;
  }
}
