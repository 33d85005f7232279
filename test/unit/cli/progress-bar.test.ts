import { describe, expect, test } from "bun:test";
import { ConversionProgress } from "../../../src/cli/progress-bar.ts";
import { MiB } from "../../../src/util/bytes.ts";

function record(isTTY: boolean): {
  readonly written: string[];
  readonly progress: ConversionProgress;
} {
  const written: string[] = [];
  let now = 0;
  const output = { isTTY, write: (text: string) => written.push(text) };
  return { written, progress: new ConversionProgress(output, () => (now += 60)) };
}

const outcome = { digest: "sha256:ab", sizeBytes: MiB, convertedBytes: 2 * MiB };

describe("ConversionProgress", () => {
  test("writes a line for each layer where there is no terminal", () => {
    const { written, progress } = record(false);
    progress.started(2, 4 * MiB);
    progress.progressed(MiB);
    progress.layerDone(outcome);
    progress.layerDone({ ...outcome, keptBecause: "is lazy already" });
    progress.leftOut("attestation");
    progress.end();
    expect(written).toEqual([
      "[1/2] sha256:ab 1.00 MiB -> 2.00 MiB\n",
      "[2/2] sha256:ab stays as it is: is lazy already\n",
      "[2/2] left out: attestation\n",
    ]);
  });

  test("draws a bar on a terminal, not at every step, and takes it away", () => {
    const { written, progress } = record(true);
    progress.started(1, 4 * MiB);
    for (let step = 0; step < 4; step++) progress.progressed(MiB);
    progress.end();
    const clear = "\r\u001b[K";
    expect(written).toEqual([
      `${clear}[${".".repeat(30)}] 0 % 0 B of 4.00 MiB, 0/1 layers`,
      `${clear}[${"#".repeat(15)}${".".repeat(15)}] 50 % 2.00 MiB of 4.00 MiB, 0/1 layers`,
      `${clear}[${"#".repeat(30)}] 100 % 4.00 MiB of 4.00 MiB, 0/1 layers`,
      clear,
    ]);
  });
});
