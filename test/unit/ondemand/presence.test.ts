import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { Presence, presencePaths } from "../../../src/ondemand/presence.ts";
import { codeOf } from "../../support/ondemand/code-of.ts";
import { randomBytes } from "../../support/random.ts";

function pretendReboot(packPath: string): void {
  const { have } = presencePaths(packPath);
  const bytes = readFileSync(have);
  bytes.write("00000000-0000-0000-0000-000000000000", 0, "latin1");
  // In the place of the old one, which may still be mapped.
  rmSync(have);
  writeFileSync(have, bytes);
}

describe("Presence", () => {
  test("tells what was set, for any number of pieces", () => {
    using folder = scratchFolder("presence");
    for (const count of [0, 1, 7, 8, 9, 63, 64, 65, 1000]) {
      const path = join(folder.path, `${count}.pack`);
      const presence = Presence.open(path, count);
      const wanted = [...randomBytes(`bits ${count}`, count)].map((byte) => byte > 100);
      for (const [piece, isWanted] of wanted.entries()) if (isWanted) presence.set(piece);
      expect(wanted.map((_, piece) => presence.has(piece))).toEqual(wanted);
      expect(presence.presentCount).toBe(wanted.filter(Boolean).length);
      for (let from = 0; from < count; from++) {
        for (const end of [from, Math.min(count, from + 9), count]) {
          const missing = wanted.findIndex((isThere, at) => at >= from && at < end && !isThere);
          expect(presence.firstMissing(from, end)).toBe(missing === -1 ? undefined : missing);
        }
      }
      expect(presence.isComplete).toBe(!wanted.includes(false));
    }
  });

  test("is complete without pieces, and with all of them", () => {
    using folder = scratchFolder("presence");
    expect(Presence.open(join(folder.path, "1.pack"), 0).isComplete).toBe(true);
    const presence = Presence.open(join(folder.path, "2.pack"), 17);
    for (let piece = 0; piece < 17; piece++) presence.set(piece);
    expect(presence.isComplete).toBe(true);
  });

  test("is seen at once by others who map the file", () => {
    using folder = scratchFolder("presence");
    const path = join(folder.path, "1.pack");
    const [writer, reader] = [Presence.open(path, 100), Presence.open(path, 100)];
    expect(reader.has(42)).toBe(false);
    writer.set(42);
    expect(reader.has(42)).toBe(true);
  });

  test("goes back to what was synced, or to nothing where that is unreadable", async () => {
    using folder = scratchFolder("presence");
    const path = join(folder.path, "1.pack");
    const presence = Presence.open(path, 20);
    presence.set(9);
    await presence.writeSynced(presence.snapshot());
    for (const piece of [0, 8, 19]) presence.set(piece);
    expect(presence.clearUnsynced()).toEqual([0, 8, 19]);
    expect(presence.presentCount).toBe(1);
    expect(presence.has(9)).toBe(true);
    writeFileSync(presencePaths(path).synced, "x");
    expect(presence.clearUnsynced()).toEqual([9]);
  });

  test("believes in this boot what was set, and after another one what was synced", async () => {
    using folder = scratchFolder("presence");
    const path = join(folder.path, "1.pack");
    const presence = Presence.open(path, 100);
    presence.set(1);
    const bits = presence.snapshot();
    presence.set(2);
    await presence.writeSynced(bits);
    const again = Presence.open(path, 100);
    expect([again.has(1), again.has(2)]).toEqual([true, true]);
    pretendReboot(path);
    const rebooted = Presence.open(path, 100);
    expect([rebooted.has(1), rebooted.has(2), rebooted.presentCount]).toEqual([true, false, 1]);
  });

  test("begins with nothing after another boot where nothing was synced", () => {
    using folder = scratchFolder("presence");
    const path = join(folder.path, "1.pack");
    Presence.open(path, 100).set(5);
    expect(existsSync(presencePaths(path).synced)).toBe(false);
    pretendReboot(path);
    expect(Presence.open(path, 100).presentCount).toBe(0);
  });

  test("refuses files of another size, and bits behind the last piece", () => {
    using folder = scratchFolder("presence");
    const path = join(folder.path, "1.pack");
    const { have, synced } = presencePaths(path);
    Presence.open(path, 100);
    expect(codeOf(() => Presence.open(path, 200))).toBe("data_loss");
    truncateSync(have, 0);
    // Too short to tell of a boot: it begins anew.
    expect(Presence.open(path, 100).presentCount).toBe(0);
    rmSync(have);
    writeFileSync(synced, Buffer.alloc(12));
    expect(codeOf(() => Presence.open(path, 100))).toBe("data_loss");
    writeFileSync(synced, Buffer.alloc(13, 0xff));
    expect(codeOf(() => Presence.open(path, 100))).toBe("data_loss");
    writeFileSync(synced, Buffer.from([...Buffer.alloc(12, 0xff), 0x0f]));
    expect(Presence.open(path, 100).isComplete).toBe(true);
  });
});
