/**
 * Random chains of layers over a few names, so that entries meet: replaced files, symlinks in
 * paths, whiteouts of what is there, names that climb out.
 *
 * @module
 */
import { Picker } from "../picker.ts";
import { type RawEntry, rawTar } from "./raw-tar.ts";

const names = ["a", "b", "c", "d", "e", "f"] as const;
const oddParts = ["..", ".", "", "a/..", "../.."] as const;

class LayerMaker {
  readonly #picker: Picker;
  /** Of the layer at hand: most hard links lead to one of them. */
  #files: string[] = [];

  constructor(seed: string) {
    this.#picker = new Picker(seed);
  }

  chain(): Buffer[] {
    return Array.from({ length: 3 }, () => this.#layer());
  }

  #layer(): Buffer {
    const count = 1 + this.#picker.integer(12);
    this.#files = [];
    return rawTar(Array.from({ length: count }, () => this.#entry()));
  }

  #chance(percent: number): boolean {
    return this.#picker.integer(100) < percent;
  }

  #one<T>(items: readonly T[]): T {
    const item = this.#picker.oneOf(items);
    if (item === undefined) throw new Error("nothing to choose from");
    return item;
  }

  #path(): string {
    const depth = 1 + Math.min(this.#picker.integer(3), this.#picker.integer(3));
    const parts = Array.from({ length: depth }, () =>
      this.#chance(6) ? this.#one(oddParts) : this.#one(names),
    );
    const start = this.#chance(10) ? this.#one(["/", "./", "../"]) : "";
    return start + parts.join("/");
  }

  #entry(): RawEntry {
    const attributes = {
      name: this.#path(),
      mode: this.#one([0o644, 0o755, 0o4755, 0o2775, 0o1777, 0]),
      uid: this.#one([0, 0, 5, 1000]),
      gid: this.#one([0, 0, 7]),
      mtime: 1_000_000_000 + this.#picker.integer(1_000_000),
      ...(this.#chance(15) ? { pax: this.#records() } : {}),
    };
    const kind = this.#picker.integer(100);
    if (kind < 35) return { ...attributes, name: `${attributes.name}/`, flag: "5" };
    if (kind < 60) {
      if (attributes.pax === undefined) this.#files.push(attributes.name);
      return { ...attributes, content: "content ".repeat(this.#picker.integer(90)) };
    }
    if (kind < 70) return { ...attributes, flag: "2", linkName: this.#path() };
    if (kind < 78) return { ...attributes, flag: "1", linkName: this.#linkTarget() };
    if (kind < 88) return { ...attributes, name: this.#whiteout(attributes.name) };
    if (kind < 92) return { ...attributes, flag: "6" };
    if (kind < 96) return { ...attributes, flag: this.#one(["3", "4"]), device: [1, 3] };
    return { ...attributes, flag: this.#one(["g", "\0", "\0", "\0", "7"]) };
  }

  #linkTarget(): string {
    const file = this.#picker.oneOf(this.#files);
    return file === undefined || this.#chance(10) ? this.#path() : file;
  }

  #whiteout(path: string): string {
    const slash = path.lastIndexOf("/") + 1;
    const hidden = this.#one([...names, ".wh..opq", ".wh..opq", ".wh.x", path.slice(slash)]);
    return `${path.slice(0, slash)}.wh.${hidden}`;
  }

  #records(): Record<string, string> {
    return this.#one([
      { mtime: "-5.25" },
      { mtime: "1234567890.000000012" },
      { path: this.#path() },
      { uid: "4294967295", gid: "4000000000" },
      { "SCHILY.xattr.user.note": "one" },
      { "SCHILY.xattr.user.other": "", "SCHILY.xattr.trusted.kept": "two" },
      { "SCHILY.xattr.security.capability": "\x01\0\0\x02\0\x20\0\0".padEnd(20, "\0") },
      { "SCHILY.xattr.unknown.place": "three" },
    ]);
  }
}

/** The tars of a chain, the lowest first. */
export function randomChain(seed: string): Buffer[] {
  return new LayerMaker(seed).chain();
}
