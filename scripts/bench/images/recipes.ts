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
  /** A shell command that ends when what the image is for has worked. */
  readonly command?: string;
  /** The path of a file that is large enough to time reading it. */
  readonly largeFile?: string;
  /** Whether it has so many files that it is worth walking. */
  readonly isLargeTree?: boolean;
}

const numpy = "python3 -c 'import numpy'";
const webModules = "numpy, scipy.stats, django, lxml.etree, psycopg2, requests";
const webCommand = `python3 -c 'import ${webModules}'`;
const weights = "models/model.safetensors";

/** A database that is made, started, asked and stopped. */
const postgresCommand = `su postgres -c 'set -e
  PATH=$PATH:/usr/lib/postgresql/15/bin
  initdb --pgdata=/tmp/data > /dev/null
  pg_ctl --pgdata=/tmp/data --wait --options="-k /tmp" start > /dev/null
  psql --host=/tmp --command="select 1"
  pg_ctl --pgdata=/tmp/data --mode=immediate stop'`;

const redisCommand = `redis-server --port 0 --unixsocket /tmp/redis --daemonize yes --save ''
until redis-cli -s /tmp/redis ping; do sleep 0.005; done
redis-cli -s /tmp/redis shutdown nosave || true`;

const hard: ImageRecipe = {
  name: "hard:1",
  layers: ["base", "hard1", "hard2", "hard3"],
  command: "true",
};

/** In the order in which they are pulled: siblings one after the other, the models at the end. */
const full: readonly ImageRecipe[] = [
  { name: "debian:bookworm", layers: ["base"], command: "true" },
  hard,
  { name: "python-sci:1", layers: ["base", "python", "science"], command: numpy },
  {
    name: "app:1",
    layers: ["base", "python", "science", "web", "application1"],
    command: webCommand,
  },
  {
    name: "app:2",
    layers: ["updatedBase", "updatedPython", "updatedScience", "updatedWeb", "application2"],
    command: webCommand,
  },
  {
    name: "node:1",
    layers: ["base", "node", "nodeModules"],
    command: "node -e 'console.log(1)'",
    isLargeTree: true,
  },
  { name: "postgres:15", layers: ["base", "postgres"], command: postgresCommand },
  { name: "java:17", layers: ["base", "java"], command: "java -version" },
  { name: "nginx:1", layers: ["base", "nginx", "site"], command: "nginx -t" },
  { name: "redis:7", layers: ["base", "redis"], command: redisCommand },
  {
    name: "python-sci:trixie",
    layers: ["trixieBase", "trixiePython", "trixieScience"],
    command: numpy,
  },
  // Before the models, so that it is not the last thing written, which a host may have cached.
  { name: "text:1", layers: ["base", "large"], largeFile: "data/large.txt" },
  {
    name: "model:1",
    layers: ["base", "weights1"],
    command: `head --bytes=8M /${weights} | md5sum`,
    largeFile: weights,
  },
  { name: "model:2", layers: ["base", "weights2"], command: `cat /${weights} > /dev/null` },
];

const small: readonly ImageRecipe[] = [
  hard,
  {
    name: "app:1",
    layers: ["base", "minimalPython", "application1"],
    command: "python3 -c 'import os, re, zlib'",
  },
  {
    name: "app:2",
    layers: ["base", "minimalPython", "application2"],
    command: "python3 -c 'import os, re, zlib'",
  },
];

export const imageSets = { full, small } as const;
export type ImageSet = keyof typeof imageSets;

/** The large file is there to be read; it is no part of the family. */
export function isFamily(image: string): boolean {
  return !image.startsWith("text:");
}

export function isModel(image: string): boolean {
  return image.startsWith("model:");
}
