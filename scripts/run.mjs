/**
 * Entry of `npm run build|compare|demo|…`: plain Node.js, for a fresh machine has no Bun.
 *
 * Installs the pinned npm packages where they are missing or older than the lock file, finds the
 * Bun among them and runs `scripts/<name>.ts` with it. Arguments, signals and the exit code pass
 * through.
 *
 * @module
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const project = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(project, "node_modules");

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** npm writes this file last, so an interrupted install is not taken for a good one. */
function isInstalled() {
  const record = join(modules, ".package-lock.json");
  if (!existsSync(record)) return false;
  return statSync(record).mtimeMs >= statSync(join(project, "package-lock.json")).mtimeMs;
}

function installPackages() {
  process.stderr.write("Installing npm packages (npm ci) …\n");
  const npm = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: project,
    stdio: ["ignore", 2, 2],
  });
  if (npm.error) fail(`Cannot run npm: ${npm.error.message}`);
  if (npm.status !== 0) fail(`Cannot install npm packages: npm ci exited with ${npm.status}`);
}

/**
 * An install script of the `bun` package moves the right binary to the place tried first. Where
 * such scripts are disabled, a text stands there, and only the packages with the binaries are of
 * use: one per CPU, and a slower "baseline" for CPUs without AVX2. What runs is found by trying.
 */
function findBun() {
  const folder = join(modules, "@oven");
  const architecture = process.arch === "arm64" ? "aarch64" : process.arch;
  const packages = existsSync(folder)
    ? readdirSync(folder).filter((name) => name.startsWith(`bun-linux-${architecture}`))
    : [];
  const binaries = [
    join(modules, "bun", "bin", "bun.exe"),
    ...packages.sort().map((name) => join(folder, name, "bin", "bun")),
  ];
  for (const binary of binaries) {
    const version = spawnSync(binary, ["--version"], { stdio: ["ignore", "pipe", "ignore"] });
    if (version.status === 0) return binary;
  }
  return fail(`Cannot find a Bun that runs here (tried: ${binaries.join(", ")})`);
}

function runScript(name, parameters) {
  const bun = findBun();
  const path = [dirname(bun), join(modules, ".bin"), process.env.PATH].join(delimiter);
  const child = spawn(bun, [join(project, "scripts", `${name}.ts`), ...parameters], {
    cwd: project,
    env: { ...process.env, PATH: path },
    stdio: "inherit",
  });
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => fail(`Cannot run ${bun}: ${error.message}`));
  child.on("exit", (code, signal) => {
    process.exit(signal === null ? code : 128 + constants.signals[signal]);
  });
}

const [name, ...parameters] = process.argv.slice(2);
if (!name || !existsSync(join(project, "scripts", `${name}.ts`))) {
  fail("Usage: node scripts/run.mjs bench|build|compare|demo|fuzz|ok|test [arguments]");
}
if (!isInstalled()) installPackages();
runScript(name, parameters);
