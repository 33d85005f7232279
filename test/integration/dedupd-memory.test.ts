/** The compiled dedupd stays small, however many lazy images a node has. */
import { describe, expect, test } from "bun:test";
import { memoryMiB } from "../../scripts/lib/memory.ts";
import { waitUntil } from "../../scripts/lib/process.ts";
import { binaryFile } from "../../scripts/lib/project.ts";
import { DedupdProcess } from "../support/ondemand/dedupd-process.ts";
import { writeSyntheticPack } from "../support/ondemand/synthetic-packs.ts";

/** Fifty images of eight layers and 30,000 pieces each. */
const packs = 400;
const piecesPerPack = 3750;
const packIdMin = 512;
/** 120 is what issue 4 asks for. */
const residentMiBMax = 110;

describe("dedupd", () => {
  test.each(["fuse", "fanotify"] as const)(
    "is small with %s and fifty lazy images",
    async (backend) => {
      const config = { lazy: { backend, background: "off" } } as const;
      await using dedupd = new DedupdProcess(config, [binaryFile, "dedupd"]);
      for (let pack = 0; pack < packs; pack++) {
        writeSyntheticPack(dedupd.root, packIdMin + pack, piecesPerPack);
      }
      await dedupd.start();
      const isOpen = async () => (await dedupd.control.status()).packs === packs;
      await waitUntil(isOpen, "not all packs are open");
      const isSmall = () => memoryMiB(dedupd.pid, "VmRSS") < residentMiBMax;
      await waitUntil(isSmall, "dedupd does not become small");
      console.log(`${backend}: ${memoryMiB(dedupd.pid, "VmRSS").toFixed(0)} MiB at rest`);
      expect(await dedupd.stop()).toBe(0);
    },
    60_000,
  );
});
