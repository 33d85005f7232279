/** Whether the images are intact and use just the chunks the index says. */
import type { Database } from "bun:sqlite";
import { closeSync, openSync, readSync } from "node:fs";
import { describeError } from "../errors.ts";
import { openImage } from "../erofs/read.ts";
import { allLayerIds, findLayer, type LayerRow } from "../store/index-database.ts";
import { blocksFor } from "../store/layout.ts";
import { imagePath, type StorePaths } from "../store/paths.ts";
import { problemOfImage } from "../store/verify-image.ts";
import type { Report } from "./finding.ts";
