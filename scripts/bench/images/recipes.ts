/**
 * The image family: thirteen images of real Debian packages and what applications add to them, and
 * one more with a large file, to be read.
 *
 * @module
 */
import { MiB } from "../../../src/util/bytes.ts";
import { hardCaseLayers } from "../../../test/support/image/hard-cases.ts";
import type { Layer } from "../../../test/support/image/layer.ts";
import { applicationTree, largeText, modelWeights, nodeModules } from "./generated.ts";
import type { GzipLevel } from "./pack.ts";

/** How a layer is made. */
export type LayerRecipe =
  /** A whole Debian; `security`: with all updates, as the base of a later month. */
  | { readonly kind: "debian"; readonly suite: string; readonly security: boolean }
  /** Shell commands in a chroot on the layers of another recipe. */
  | { readonly kind: "commands"; readonly on: string; readonly commands: string }
  /** Files that do not depend on what is below. */
  | { readonly kind: "files"; readonly level: GzipLevel; entries(): Layer };

function install(packages: string): string {
  return `apt-get -q -y install ${packages}`;
}

function commands(on: string, ...lines: readonly string[]): LayerRecipe {
  return { kind: "commands", on, commands: lines.join("\n") };
}

function files(entries: () => Layer, level: GzipLevel = "usual"): LayerRecipe {
  return { kind: "files", level, entries };
}

const hardCases = hardCaseLayers();
const science = install("python3-numpy python3-scipy");
const web = install("python3-django gunicorn python3-requests python3-psycopg2 python3-lxml");
const application = (version: 1 | 2) => files(() => applicationTree("srv/app", 400, version));

export const layerRecipes: Readonly<Record<string, LayerRecipe>> = {
  base: { kind: "debian", suite: "bookworm", security: false },
  updatedBase: { kind: "debian", suite: "bookworm", security: true },
  trixieBase: { kind: "debian", suite: "trixie", security: false },
  hard1: files(() => hardCases[0] ?? []),
  hard2: files(() => hardCases[1] ?? []),
  hard3: files(() => hardCases[2] ?? []),
  minimalPython: commands("base", install("python3-minimal")),
  python: commands("base", install("python3")),
  science: commands("python", science),
  web: commands("science", web),
  updatedPython: commands("updatedBase", install("python3")),
  updatedScience: commands("updatedPython", science),
  updatedWeb: commands("updatedScience", web),
  trixiePython: commands("trixieBase", install("python3")),
  trixieScience: commands("trixiePython", science),
  application1: application(1),
  application2: application(2),
  node: commands("base", install("nodejs npm")),
  nodeModules: files(() => nodeModules("srv/app/node_modules", 900)),
  postgres: commands(
    "base",
    "mkdir -p /etc/postgresql-common",
    "echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf",
    install("postgresql-15"),
  ),
  java: commands("base", install("openjdk-17-jre-headless")),
  nginx: commands("base", install("nginx-light")),
  site: files(() => applicationTree("var/www/html", 300, 1)),
  redis: commands("base", install("redis-server")),
  weights1: files(() => modelWeights(1), "fast"),
  weights2: files(() => modelWeights(2), "fast"),
  large: files(() => largeText(300 * MiB)),
};

export interface ImageRecipe {
  readonly name: string;
  /** Names of layers, the lowest first. */
  readonly layers: readonly string[];
}

function image(name: string, ...layers: readonly string[]): ImageRecipe {
  return { name, layers };
}

const hard = image("hard:1", "base", "hard1", "hard2", "hard3");

/** In the order in which they are pulled: siblings one after the other, the models at the end. */
const full: readonly ImageRecipe[] = [
  image("debian:bookworm", "base"),
  hard,
  image("python-sci:1", "base", "python", "science"),
  image("app:1", "base", "python", "science", "web", "application1"),
  image("app:2", "updatedBase", "updatedPython", "updatedScience", "updatedWeb", "application2"),
  image("node:1", "base", "node", "nodeModules"),
  image("postgres:15", "base", "postgres"),
  image("java:17", "base", "java"),
  image("nginx:1", "base", "nginx", "site"),
  image("redis:7", "base", "redis"),
  image("python-sci:trixie", "trixieBase", "trixiePython", "trixieScience"),
  image("model:1", "base", "weights1"),
  image("model:2", "base", "weights2"),
  image("text:1", "base", "large"),
];

const small: readonly ImageRecipe[] = [
  hard,
  image("app:1", "base", "minimalPython", "application1"),
  image("app:2", "base", "minimalPython", "application2"),
];

export const imageSets = { full, small } as const;
export type ImageSet = keyof typeof imageSets;
