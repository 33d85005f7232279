/**
 * Generates src/rpc/gen from src/rpc/proto with buf and ts-proto, both from npm; needs no network.
 *
 * The result is checked in, so that building needs no generator. Run it after a change of a .proto
 * file: `bun scripts/gen-proto.ts`.
 *
 * @module
 */
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { projectFolder, say } from "./lib/project.ts";

const protoFolder = join(projectFolder, "src", "rpc", "proto");
const outputFolder = join(projectFolder, "src", "rpc", "gen");

/**
 * Why these: Maps, because plain objects lose a label named `__proto__`; bigint, because int64
 * exceeds a double; Timestamp kept, because Date has milliseconds only; no TypeScript enums, which
 * `erasableSyntaxOnly` forbids.
 */
const pluginOptions = [
  "env=node",
  "enumsAsLiterals=true",
  "esModuleInterop=true",
  "forceLong=bigint",
  "importSuffix=.ts",
  "outputJsonMethods=false",
  "outputPartialMethods=false",
  "outputServices=grpc-js",
  "useDate=false",
  "useExactTypes=false",
  "useMapType=true",
];

/** The binary itself: the launcher of @bufbuild/buf works only after its install script ran. */
function bufBinary(): string {
  const platform = `buf-${process.platform}-${process.arch === "arm64" ? "aarch64" : "x64"}`;
  const folder = dirname(Bun.resolveSync(`@bufbuild/${platform}/package.json`, projectFolder));
  return join(folder, "bin", "buf");
}

async function generate(): Promise<void> {
  const template = {
    version: "v2",
    clean: false,
    plugins: [
      {
        local: [process.execPath, join(projectFolder, "node_modules/.bin/protoc-gen-ts_proto")],
        out: outputFolder,
        opt: pluginOptions,
        include_imports: true,
        include_wkt: true,
      },
    ],
  };
  rmSync(outputFolder, { recursive: true, force: true });
  await run([bufBinary(), "generate", "--template", JSON.stringify(template)]);
  await forbidChecks();
  // The formatter of `ok` goes over all files, so that a second generation gives no difference.
  await run([process.execPath, "fmt", outputFolder]);
}

async function run(command: readonly string[]): Promise<void> {
  const child = Bun.spawn([...command], {
    cwd: protoFolder,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const exitCode = await child.exited;
  if (exitCode !== 0) throw new Error(`${command.slice(0, 2).join(" ")} exited with ${exitCode}`);
}

/** Generated code follows its generator's rules, not this project's compiler options. */
async function forbidChecks(): Promise<void> {
  for await (const path of new Bun.Glob("**/*.ts").scan({ cwd: outputFolder, absolute: true })) {
    await Bun.write(path, `// @ts-nocheck\n${await Bun.file(path).text()}`);
    say(path);
  }
}

await generate();
