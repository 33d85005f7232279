import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadConfig } from "../../../src/config/load.ts";
import { AppError } from "../../../src/errors.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";

function load(content: unknown, environment: Record<string, string> = {}) {
  using folder = scratchFolder("unit");
  const path = join(folder.path, "config.json");
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return loadConfig({ CONFIG: path, ...environment });
}

function refusal(content: unknown, environment: Record<string, string> = {}): string {
  try {
    load(content, environment);
  } catch (error) {
    if (error instanceof AppError && error.code === "invalid_argument") return error.message;
    throw error;
  }
  throw new Error("the configuration was accepted");
}

describe("loadConfig()", () => {
  test("gives every key a default", () => {
    expect(load({})).toEqual({
      root: "/var/lib/containerd/io.containerd.snapshotter.v1.dedup",
      address: "/run/containerd/dedup-snapshotter.sock",
      log_level: "info",
      api: { address: "127.0.0.1:8080" },
      chunk_size: 4 * 1024 * 1024,
      compression: "auto",
      compression_level: null,
      erofs: { builder: "native", mkfs_path: "mkfs.erofs", mkfs_options: null },
      conversion: { enabled: true, workers: 2 },
      diff: { enabled: true, early: true },
      containerd: {
        address: "/run/containerd/containerd.sock",
        root: "/var/lib/containerd",
      },
      maintenance: { bytes_per_second: 32 * 1024 * 1024, compaction_delay_ms: 3_600_000 },
      lazy: {
        enabled: true,
        backend: "auto",
        allow_unverified_toc: false,
        background: "on",
        background_bytes_per_second: null,
        coalesce_bytes: 64 * 1024,
        read_timeout_ms: 300_000,
        claim_timeout_ms: 30_000,
        standby: true,
        trace: "auto",
      },
      dedupd: { workers: 8 },
      prefetch: { trace_dir: null },
      mount: { method: "auto", idle_timeout_ms: 10_000 },
    });
  });

  test("bounds what on-demand loading may take", () => {
    const lazy = { background_bytes_per_second: "2 MiB", coalesce_bytes: 0, backend: "fuse" };
    expect(load({ lazy }).lazy).toMatchObject({
      background_bytes_per_second: 2 * 1024 * 1024,
      coalesce_bytes: 0,
      backend: "fuse",
    });
    expect(refusal({ lazy: { backend: "nbd" } })).toContain("lazy.backend");
    expect(refusal({ lazy: { coalesce_bytes: "1 GiB" } })).toContain("at most 64 MiB");
    expect(refusal({ lazy: { background_bytes_per_second: 1 } })).toContain("at least 1 KiB");
    expect(refusal({ lazy: { read_timeout_ms: 0 } })).toContain("lazy.read_timeout_ms");
    expect(refusal({ dedupd: { workers: 0 } })).toContain("dedupd.workers");
    expect(refusal({ prefetch: { trace_dir: "traces" } })).toContain("an absolute path");
  });

  test("takes a tool by name or absolute path, and options that are options", () => {
    const erofs = { builder: "mkfs", mkfs_path: "/opt/mkfs.erofs", mkfs_options: ["-zzstd,3"] };
    expect(load({ erofs }).erofs).toEqual(erofs as never);
    expect(refusal({ erofs: { mkfs_path: "bin/mkfs.erofs" } })).toContain("erofs.mkfs_path");
    expect(refusal({ erofs: { mkfs_options: ["image"] } })).toContain("erofs.mkfs_options.0");
    expect(refusal({ erofs: { builder: "other" } })).toContain("erofs.builder");
  });

  test("keeps the other defaults of a section that is given in part", () => {
    expect(load({ mount: { method: "loop" } }).mount).toEqual({
      method: "loop",
      idle_timeout_ms: 10_000,
    });
  });

  test("lets the environment override the file", () => {
    const environment = { ROOT: "/r", ADDRESS: "/a", LOG_LEVEL: "debug" };
    const config = load({ root: "/file", log_level: "warn" }, environment);
    expect([config.root, config.address, config.log_level]).toEqual(["/r", "/a", "debug"]);
  });

  test("reads sizes with a unit", () => {
    expect(load({ chunk_size: "64 MiB" }).chunk_size).toBe(64 * 1024 * 1024);
    expect(load({ chunk_size: "4KiB" }).chunk_size).toBe(4096);
  });

  test.each([3, 4095, 12_288, 128 * 1024 * 1024, "1 GiB"])("refuses the chunk size %p", (value) => {
    expect(refusal({ chunk_size: value })).toContain("a power of two from 4 KiB to 64 MiB");
  });

  test("names an unknown key with its path", () => {
    expect(refusal({ mount: { methd: "file" } })).toContain('Unknown key "mount.methd"');
  });

  test("names the key, the file and the expectation of a wrong type", () => {
    const message = refusal({ conversion: { workers: "many" } });
    expect(message).toContain('"conversion.workers"');
    expect(message).toContain("config.json");
    expect(message).toContain("expected number");
  });

  test("names the environment variable a wrong value came from", () => {
    expect(refusal({}, { ROOT: "relative" })).toContain("environment variable ROOT");
  });

  test("refuses a file that is no JSON object", () => {
    expect(refusal("{")).toContain("is not JSON");
    expect(refusal("[]")).toContain("no JSON object");
  });

  test("refuses a missing file only where it was asked for", () => {
    expect(() => loadConfig({ CONFIG: "/nonexistent/config.json" })).toThrow("Cannot read");
  });

  test.each(["8080", "127.0.0.1", "host:70000", "::1:80"])(
    "refuses the API address %p",
    (value) => {
      expect(refusal({ api: { address: value } })).toContain('expected "host:port"');
    },
  );
});
