import { describe, expect, test } from "bun:test";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { AppError } from "../../../src/errors.ts";
import { createLogger } from "../../../src/log.ts";
import { chooseBackend } from "../../../src/ondemand/backends.ts";
import { rejection } from "../../support/rejection.ts";

const isAway = () => Promise.reject(new AppError("unavailable", "The keeper is away"));

describe("chooseBackend()", () => {
  test("takes no other backend than the one in use", async () => {
    using folder = scratchFolder("backends");
    const choosing = chooseBackend("auto", {
      root: folder.path,
      demand: () => Promise.resolve(),
      keeper: { adopt: () => Promise.reject(new Error("No luck")), keep: isAway },
      log: createLogger("silent"),
      inUse: "fanotify",
      threads: 1,
      reportSuspect: () => undefined,
      onCrash: () => undefined,
    });
    expect(await rejection(choosing)).toMatchObject({ code: "unavailable" });
  });

  test("takes no other backend because the keeper is away for a moment", async () => {
    using folder = scratchFolder("backends");
    const choosing = chooseBackend("auto", {
      root: folder.path,
      demand: () => Promise.resolve(),
      keeper: { adopt: isAway, keep: isAway },
      log: createLogger("silent"),
      threads: 1,
      reportSuspect: () => undefined,
      onCrash: () => undefined,
    });
    expect(await rejection(choosing)).toMatchObject({ code: "unavailable" });
  });
});
