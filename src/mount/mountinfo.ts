/**
 * The mounts of a process: /proc/<pid>/mountinfo (proc_pid_mountinfo(5)).
 *
 * @module
 */
import { FormatError } from "../errors.ts";

export interface MountEntry {
  readonly mountId: number;
  readonly parentId: number;
  /** `major:minor` of the file system. */
  readonly device: string;
  readonly mountPoint: string;
  /** Options of this mount, such as `ro`. */
  readonly options: readonly string[];
  /** Mounts made below this one appear in all mounts of the same group; undefined if private. */
  readonly sharedGroup: number | undefined;
  readonly fileSystem: string;
  /** What is mounted: a device, a file or a mere word. */
  readonly source: string;
}

/** Mounts in the order they were made: of two at one place, the later one is on top. */
export function parseMountInfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  let offset = 0;
  for (const line of text.split("\n")) {
    if (line !== "") entries.push(parseLine(line, offset));
    offset += line.length + 1;
  }
  return entries;
}

/** Fields: id parent major:minor root mountpoint options [optional...] - type source super. */
function parseLine(line: string, offset: number): MountEntry {
  const fields = line.split(" ");
  const separator = fields.indexOf("-", 6);
  const [mountId, parentId, device, , mountPoint, options] = fields;
  const [fileSystem, source] = fields.slice(separator + 1);
  if (
    separator < 0 ||
    device === undefined ||
    mountPoint === undefined ||
    options === undefined ||
    fileSystem === undefined ||
    source === undefined
  )
    throw new FormatError("mountinfo", offset, `fields are missing in "${line}"`);
  return {
    mountId: parseId(mountId, offset),
    parentId: parseId(parentId, offset),
    device,
    mountPoint: unescapeOctal(mountPoint),
    options: options.split(","),
    sharedGroup: parseSharedGroup(fields.slice(6, separator), offset),
    fileSystem: unescapeOctal(fileSystem),
    source: unescapeOctal(source),
  };
}

function parseSharedGroup(optionalFields: readonly string[], offset: number): number | undefined {
  const field = optionalFields.find((text) => text.startsWith("shared:"));
  return field === undefined ? undefined : parseId(field.slice("shared:".length), offset);
}

function parseId(text: string | undefined, offset: number): number {
  if (text === undefined || !/^\d{1,10}$/.test(text))
    throw new FormatError("mountinfo", offset, `"${text ?? ""}" is not a number`);
  return Number(text);
}

/** The kernel writes space, tab, newline, `#` and backslash as three octal digits. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** The mount that holds an absolute path without symlinks; the topmost, if several do. */
export function findMountOf(path: string, entries: readonly MountEntry[]): MountEntry | undefined {
  let best: MountEntry | undefined;
  for (const entry of entries) {
    const holds = isWithin(path, entry.mountPoint);
    if (holds && entry.mountPoint.length >= (best?.mountPoint.length ?? 0)) best = entry;
  }
  return best;
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`);
}
