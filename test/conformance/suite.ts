/**
 * Builds and runs containerd's snapshotter suite (`suite_test.go`) with Debian's own Go packages.
 *
 * @module
 */
import { join } from "node:path";
import { tryCommand } from "../../scripts/lib/process.ts";
import { binaryFile } from "../../scripts/lib/project.ts";
import { scratchBase } from "../../scripts/lib/temp.ts";
import { buildGoProgram } from "../support/go-program.ts";

/** Runs the suite with one mount method; resolves with the output of `go test -v`. */
export async function runSuite(method: "file" | "loop"): Promise<string> {
  const suite = await buildGoProgram(join(import.meta.dir, "suite_test.go"));
  const result = await tryCommand(
    [suite, "-test.v", "-test.timeout=5m", `-binary=${binaryFile}`, `-method=${method}`],
    { cwd: "/", env: { TMPDIR: scratchBase() } },
  );
  return result.stdout + result.stderr;
}
