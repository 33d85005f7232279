/**
 * What a start makes of the state in which each step of each operation can leave the root: the
 * states are built by hand, as a kill between two steps would.
 */
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { noLabels, plainCommit, TestNode } from "./fakes.ts";
import { rejection } from "../../support/rejection.ts";

const directories = (node: TestNode) => readdirSync(join(node.root, "snapshots")).toSorted();

describe("recover()", () => {
  test("deletes half-made directories and does not use their ids", async () => {
    await using node = new TestNode();
    await node.snapshotter.prepare("a", "", noLabels);
    mkdirSync(join(node.root, "snapshots", "40", "fs"), { recursive: true });
    mkdirSync(join(node.root, "snapshots", "new-1"));
    await node.restart();
    await node.snapshotter.prepare("b", "", noLabels);
    expect(node.snapshotter.stat("b").id).toBe(41);
    await node.snapshotter.close();
    expect(directories(node)).toEqual(["1", "41"]);
    expect(node.log.messages("info")).toEqual(["deleting leftover directories"]);
  });

  test("deletes the directory of a layer that is an image by now", async () => {
    await using node = new TestNode();
    await node.layer("layer");
    await node.snapshotter.close();
    mkdirSync(join(node.root, "snapshots", "1", "fs"), { recursive: true });
    await node.restart();
    await node.snapshotter.close();
    expect(directories(node)).toEqual([]);
  });

  test("keeps what snapshots need and says what is missing", async () => {
    await using node = new TestNode({ conversionEnabled: false });
    await node.layer("plain");
    await node.snapshotter.prepare("a", "plain", noLabels);
    await node.snapshotter.view("v", "plain", noLabels);
    await node.snapshotter.prepare("lost", "", noLabels);
    rmSync(join(node.root, "snapshots", "4"), { recursive: true });
    await node.restart();
    await node.snapshotter.close();
    expect(directories(node)).toEqual(["1", "2", "3"]);
    expect(node.log.messages("error")).toEqual(["the directory of a snapshot is missing"]);
    await node.snapshotter.remove("lost");
  });

  test("deletes nothing by a database that is new", async () => {
    await using node = new TestNode();
    await node.snapshotter.prepare("a", "", noLabels);
    const restart = node.restart(() => rmSync(node.metadata.path));
    expect(await rejection(restart)).toEqual(
      expect.objectContaining({ message: expect.stringContaining("missing or empty") }),
    );
    expect(existsSync(join(node.root, "snapshots", "1", "fs"))).toBe(true);
  });

  test("leaves nothing to do after a clean end", async () => {
    await using node = new TestNode();
    await node.layer("base");
    await node.snapshotter.prepare("a", "base", noLabels);
    await node.snapshotter.commit("top", "a", plainCommit);
    await node.snapshotter.remove("top");
    await node.snapshotter.cleanup();
    await node.restart();
    expect(node.log.messages("error")).toEqual([]);
    expect(directories(node)).toEqual([]);
    expect(node.snapshotter.stat("base").kind).toBe("committed");
  });
});
