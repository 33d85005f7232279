import { describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { AppError } from "../../../src/errors.ts";
import type { ImageFiles, MountMode } from "../../../src/mount/contract.ts";
import { type MountFunctions, probeMountMode } from "../../../src/mount/probe.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";

/** "Mounts" by putting the pack where the probe's file should be. */
function fakeFunctions(works: (mode: MountMode) => boolean, content?: string): MountFunctions {
  return {
    mount(files: ImageFiles, target: string, mode: MountMode): MountMode {
      if (!works(mode)) throw new Error(`no ${mode.method} ${mode.directIo ? "direct" : "cached"}`);
      mkdirSync(target);
      copyFileSync(files.packs[0] ?? "", `${target}/content`);
      if (content !== undefined) writeFileSync(`${target}/content`, content);
      return mode;
    },
    unmount: (target) => rmSync(target, { recursive: true, force: true }),
  };
}

describe("probeMountMode()", () => {
  test("takes the best mode that works, and says why others do not", () => {
    using scratch = scratchFolder("unit");
    const functions = fakeFunctions((mode) => mode.method === "loop");
    expect(probeMountMode("auto", scratch.path, functions)).toEqual({
      mode: { method: "loop", directIo: true },
      failed: [
        { tried: { method: "file", directIo: true }, reason: "no file direct" },
        { tried: { method: "file", directIo: false }, reason: "no file cached" },
      ],
    });
    expect(readdirSync(scratch.path)).toEqual([]);
  });

  test("tries only the method that was asked for", () => {
    using scratch = scratchFolder("unit");
    const { mode, failed } = probeMountMode(
      "loop",
      scratch.path,
      fakeFunctions(() => true),
    );
    expect({ mode, failed }).toEqual({ mode: { method: "loop", directIo: true }, failed: [] });
  });

  test("does not believe a mount that reads wrong bytes", () => {
    using scratch = scratchFolder("unit");
    const functions = fakeFunctions(() => true, "zeros");
    expect(() => probeMountMode("auto", scratch.path, functions)).toThrow("is wrong");
  });

  test("fails with all reasons and a remedy, and leaves nothing", () => {
    using scratch = scratchFolder("unit");
    let failure: unknown;
    try {
      probeMountMode(
        "file",
        scratch.path,
        fakeFunctions(() => false),
      );
    } catch (error) {
      failure = error;
    }
    if (!(failure instanceof AppError)) throw new Error("no AppError");
    expect(failure.code).toBe("failed_precondition");
    expect(failure.message).toContain("no file direct; no file cached");
    expect(failure.remedy).toContain("Linux 6.12");
    expect(readdirSync(scratch.path)).toEqual([]);
  });

  test("removes what a killed probe left, and nothing else", () => {
    using scratch = scratchFolder("unit");
    mkdirSync(`${scratch.path}/probe-old/mount`, { recursive: true });
    writeFileSync(`${scratch.path}/7.erofs`, "");
    probeMountMode(
      "auto",
      scratch.path,
      fakeFunctions(() => true),
    );
    expect(existsSync(`${scratch.path}/probe-old`)).toBe(false);
    expect(readdirSync(scratch.path)).toEqual(["7.erofs"]);
  });
});
