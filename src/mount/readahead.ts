/**
 * How far the kernel reads ahead in mounted images.
 *
 * Its default of 128 KiB is one extent of a compressed file: each would be read and decompressed
 * before the next is asked for. Disks have settings of their own, often of megabytes, and a file
 * system without a disk does not inherit them. The setting is the one of the `backing_dev_info` of
 * the superblock (Documentation/ABI/testing/sysfs-class-bdi).
 *
 * @module
 */
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KiB } from "../util/bytes.ts";

const bdiFolder = "/sys/class/bdi";
/** A mount of files has a device without a number, named by super_setup_bdi() in fs/super.c. */
const anonymousName = /^erofs-\d+$/;
/**
 * Readers that announce to read in order (posix_fadvise) get twice as much. Windows of 2 MiB were
 * measured to be as fast or, every other time, three times slower.
 */
const readaheadBytes = 512 * KiB;

/** Mounts with `mount`, then sets how far is read ahead at `target`; where it cannot, no matter. */
export function withReadahead<Result>(target: string, mount: () => Result): Result {
  const before = new Set(anonymousDevices());
  const result = mount();
  const added = anonymousDevices().filter((name) => !before.has(name));
  const name = added.length === 1 ? added[0] : deviceNumber(target);
  if (name !== undefined) setReadahead(join(bdiFolder, name, "read_ahead_kb"));
  return result;
}

function anonymousDevices(): string[] {
  return existsSync(bdiFolder)
    ? readdirSync(bdiFolder).filter((name) => anonymousName.test(name))
    : [];
}

/** `major:minor` as the kernel encodes them (include/linux/kdev_t.h, new_encode_dev). */
function deviceNumber(target: string): string {
  const { dev } = statSync(target);
  const major = (dev >>> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}

function setReadahead(path: string): void {
  try {
    writeFileSync(path, String(readaheadBytes / KiB));
  } catch {
    // A sysfs that is not there or read-only costs speed, nothing else.
  }
}
