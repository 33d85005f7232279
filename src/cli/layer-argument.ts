/** The layer a user means: its number, or the name of a snapshot such as a chain ID. */
import type { Database } from "bun:sqlite";
import { loadConfig } from "../config/load.ts";
import { AppError } from "../errors.ts";
import { SnapshotMetadata } from "../snapshot/metadata.ts";
import { findLayer, openIndex, type LayerRow } from "../store/index-database.ts";
import { storePaths, type StorePaths } from "../store/paths.ts";

export interface OpenRoot extends AsyncDisposable {
  readonly paths: StorePaths;
  readonly database: Database;
  readonly metadata: SnapshotMetadata;
}

/** Opens the databases of the configured root; fine beside a running daemon. */
export function openRoot(): OpenRoot {
  const paths = storePaths(loadConfig(process.env).root);
  const database = openIndex(paths.indexDatabase);
  const metadata = SnapshotMetadata.open(paths.snapshotDatabase);
  return {
    paths,
    database,
    metadata,
    [Symbol.asyncDispose]: async () => {
      database.close();
      await metadata.close();
    },
  };
}

/** Throws `not_found` where no layer, or `failed_precondition` where several fit. */
export function resolveLayer(root: OpenRoot, argument: string): LayerRow {
  const ids = /^[0-9]+$/.test(argument) ? [Number(argument)] : layersOfName(root, argument);
  const [id] = ids;
  if (ids.length > 1) {
    const problem = `"${argument}" fits several layers: ${ids.join(", ")}`;
    throw new AppError("failed_precondition", problem, { remedy: "give one of the numbers" });
  }
  const layer = id === undefined ? undefined : findLayer(root.database, id);
  if (layer === undefined) {
    throw new AppError("not_found", `No converted layer "${argument}"`, {
      remedy: "give a layer number or a chain ID; `ctr snapshots ls` lists chain IDs",
    });
  }
  return layer;
}

/** Names are `<namespace>/<number>/<chain ID>`; the chain ID alone will do. */
function layersOfName({ metadata }: OpenRoot, argument: string): number[] {
  const ids = new Set<number>();
  let page = metadata.page(0, undefined);
  for (let last = page.at(-1); last !== undefined; last = page.at(-1)) {
    for (const { name, layer } of page) {
      const isNamed = name === argument || name.endsWith(`/${argument}`);
      if (isNamed && layer?.kind === "image") ids.add(layer.layerId);
    }
    page = metadata.page(last.id, undefined);
  }
  return [...ids];
}
