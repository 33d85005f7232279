/**
 * The configuration file, key by key: its schema is its reference.
 *
 * Every key may be left out. Unknown keys and wrong types are refused with the key's path.
 *
 * @module
 */
import { z } from "zod";
import { logLevels } from "../log.ts";
import { GiB, isPowerOfTwo, KiB, MiB } from "../util/bytes.ts";

const chunkBytesMin = 4 * KiB;
const chunkBytesMax = 64 * MiB;
const coalesceBytesMax = 64 * MiB;

const sizePattern = /^([0-9]+) ?(B|KiB|MiB|GiB)$/;
const unitBytes: Readonly<Record<string, number>> = { B: 1, KiB, MiB, GiB };

function parseSize(text: string): number {
  const match = sizePattern.exec(text);
  return match === null ? Number.NaN : Number(match[1]) * (unitBytes[match[2] ?? ""] ?? Number.NaN);
}

/** A number of bytes, or text such as "4 MiB". */
const size = z.union([
  z.number().int().nonnegative(),
  z.string().regex(sizePattern, 'expected a size such as "4 MiB"').transform(parseSize),
]);

const absolutePath = z
  .string()
  .startsWith("/", "expected an absolute path")
  .refine((path) => !path.includes("\0"), "expected a path without NUL");

const portMax = 65_535;

function isHostAndPort(text: string): boolean {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):([0-9]{1,5})$/.exec(text);
  return match !== null && Number(match[2]) <= portMax;
}

export const configSchema = z.strictObject({
  /** Folder for content, images and metadata; one daemon a folder. */
  root: absolutePath.default("/var/lib/containerd/io.containerd.snapshotter.v1.dedup"),
  /** The Unix socket containerd connects to. */
  address: absolutePath.default("/run/containerd/dedup-snapshotter.sock"),
  log_level: z.enum(logLevels).default("info"),
  api: z
    .strictObject({
      /** Where the admin API listens, `host:port`; port 0 picks a free one; null: nowhere. */
      address: z
        .string()
        .refine(isHostAndPort, 'expected "host:port"')
        .nullable()
        .default("127.0.0.1:8080"),
    })
    .prefault({}),
  /** Content is cut in pieces of at most this size; a power of two, 4 KiB to 64 MiB. */
  chunk_size: size
    .refine(
      (bytes) => isPowerOfTwo(bytes) && bytes >= chunkBytesMin && bytes <= chunkBytesMax,
      "expected a power of two from 4 KiB to 64 MiB",
    )
    .default(4 * MiB),
  /** How new content is stored; auto: zstd, else deflate, else none, whatever can be mounted. */
  compression: z.enum(["auto", "zstd", "deflate", "none"]).default("auto"),
  /** Higher is smaller and slower; null: 3 for zstd, 6 for deflate, which ends at 9. */
  compression_level: z.number().int().min(1).max(19).nullable().default(null),
  erofs: z
    .strictObject({
      /** Who writes images: we, content shared between them, or mkfs.erofs, each by itself. */
      builder: z.enum(["native", "mkfs"]).default("native"),
      /** mkfs.erofs: a name to look for in PATH, or an absolute path. */
      mkfs_path: z
        .string()
        .regex(/^(?:\/[^\0]+|[^/\0]+)$/, "expected a name or an absolute path")
        .default("mkfs.erofs"),
      /** Instead of the best of `-zlz4hc,9 -Eztailpacking,dedupe` that works; null: those. */
      mkfs_options: z
        .array(z.string().regex(/^-[^\0]+$/, 'expected an option such as "-zlz4hc,9"'))
        .max(32)
        .nullable()
        .default(null),
    })
    .prefault({}),
  conversion: z
    .strictObject({
      /** false: committed layers stay plain directories. */
      enabled: z.boolean().default(true),
      /** Layers converted at the same time. */
      workers: z.number().int().min(1).max(64).default(2),
    })
    .prefault({}),
  diff: z
    .strictObject({
      /** false: layers are unpacked by containerd's own differ and converted at Commit. */
      enabled: z.boolean().default(true),
      /** Layers are built while containerd downloads them; false: when it has them applied. */
      early: z.boolean().default(true),
    })
    .prefault({}),
  containerd: z
    .strictObject({
      /** containerd's socket: for layers that are left to its own differ. */
      address: absolutePath.default("/run/containerd/containerd.sock"),
      /** containerd's root folder: layers are read from the content store in it. */
      root: absolutePath.default("/var/lib/containerd"),
    })
    .prefault({}),
  maintenance: z
    .strictObject({
      /** Reads and writes a second, together, of work in the background on what is stored. */
      bytes_per_second: size
        .refine((bytes) => bytes >= MiB, "expected at least 1 MiB")
        .default(32 * MiB),
      /** How long after a deletion mostly dead bundles are looked for; null: never. */
      compaction_delay_ms: z.number().int().min(0).max(604_800_000).nullable().default(3_600_000),
    })
    .prefault({}),
  lazy: z
    .strictObject({
      /** false: all layers are pulled as a whole, whatever their images say. */
      enabled: z.boolean().default(true),
      /** How the kernel asks for content that is not there; auto: the best that works. */
      backend: z.enum(["auto", "fanotify", "fuse", "eager"]).default("auto"),
      /** true: also tables of contents that no annotation of the manifest vouches for. */
      allow_unverified_toc: z.boolean().default(false),
      /** Fetch the rest of lazy layers: always, never, or while nobody waits for content. */
      background: z.enum(["on", "off", "idle"]).default("on"),
      /** Fetched a second for the rest, all layers together; null: as fast as it comes. */
      background_bytes_per_second: size
        .refine((bytes) => bytes >= KiB, "expected at least 1 KiB")
        .nullable()
        .default(null),
      /** Pieces of a blob with at most this much between them are fetched by one request. */
      coalesce_bytes: size
        .refine((bytes) => bytes <= coalesceBytesMax, "expected at most 64 MiB")
        .default(64 * KiB),
      /** How long a reader waits for content before it gets EIO. */
      read_timeout_ms: z.number().int().min(1000).max(86_400_000).default(300_000),
      /** How long containerd waits for the decision whether a layer is lazy, and its image. */
      claim_timeout_ms: z.number().int().min(100).max(600_000).default(30_000),
      /** true: what lazy layers need runs before the first comes, which starts sooner so. */
      standby: z.boolean().default(true),
      /** Whether the order of first reads is recorded, and used at the next start. */
      trace: z.enum(["auto", "off"]).default("auto"),
    })
    .prefault({}),
  dedupd: z
    .strictObject({
      /** Range requests to registries at the same time. */
      workers: z.number().int().min(1).max(64).default(8),
    })
    .prefault({}),
  prefetch: z
    .strictObject({
      /** The one folder whose files may be named as traces; null: no file may. */
      trace_dir: absolutePath.nullable().default(null),
    })
    .prefault({}),
  mount: z
    .strictObject({
      /** How the kernel reads images: as files (Linux 6.12+), by loop devices, or what works. */
      method: z.enum(["auto", "file", "loop"]).default("auto"),
      /** A layer that no container uses is unmounted after this time. */
      idle_timeout_ms: z.number().int().min(0).max(86_400_000).default(10_000),
    })
    .prefault({}),
});

export type Config = z.infer<typeof configSchema>;
