/**
 * Layers of generated files: what applications add to Debian's packages. The same in every run.
 *
 * @module
 */
import { MiB } from "../../../src/util/bytes.ts";
import { directory, file, type Layer, type LayerEntry } from "../../../test/support/image/layer.ts";
import { randomBytes } from "../../../test/support/random.ts";

const words =
  `async await break buffer catch class config const continue data default delete else error export
  false file for from function get handler if import in index item key let list module name new null
  number object of options path promise request response result return self set string switch this
  throw true try type undefined value while yield`.split(/\s+/);

/** Numbers from 0 up to, not including, 2³², drawn from a stream that a seed stands for. */
class Dice {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(seed: string, draws: number) {
    this.#bytes = randomBytes(seed, draws * 4);
  }

  /** An integer below the limit; starts again at the first one when all draws are used. */
  below(limit: number): number {
    const value = this.#bytes.readUInt32LE(this.#at);
    this.#at = (this.#at + 4) % this.#bytes.length;
    return Math.floor((value / 2 ** 32) * limit);
  }
}

/** Lines of words, indented like a program, of about so many bytes. */
export function programText(seed: string, sizeBytes: number): Buffer {
  const dice = new Dice(seed, 256 + Math.ceil(sizeBytes / 6));
  const lines: string[] = [];
  for (let length = 0; length < sizeBytes;) {
    const count = 2 + dice.below(8);
    const line = Array.from({ length: count }, () => words[dice.below(words.length)]).join(" ");
    lines.push(`${"  ".repeat(dice.below(5))}${line};\n`);
    length += lines.at(-1)?.length ?? 0;
  }
  return Buffer.from(lines.join(""), "latin1");
}

/** The path's missing parents, then the entries, each parent before what it holds. */
function withParents(entries: readonly LayerEntry[]): Layer {
  const seen = new Set<string>();
  return entries.flatMap((entry) => {
    const parts = entry.path.split("/").slice(0, -1);
    const parents = parts.map((_, index) => parts.slice(0, index + 1).join("/"));
    const missing = parents.filter((path) => !seen.has(path));
    for (const path of missing) seen.add(path);
    return [...missing.map((path) => directory(path)), entry];
  });
}

const changedShare = 0.03;
const assetShare = 0.15;

/**
 * Sources, and assets that are compressed already. The second version changes one file of thirty
 * and has one of fifty more.
 */
export function applicationTree(folder: string, files: number, version: 1 | 2): Layer {
  const count = version === 1 ? files : files + Math.floor(files / 50);
  const changes = new Dice(`${folder} changes`, count * 2);
  const entries = Array.from({ length: count }, (_, index) => {
    const dice = new Dice(`${folder} ${index}`, 4);
    const seed = `${folder} content ${index}`;
    // Most files are small, some are thirty times as large.
    const sizeBytes = Math.floor(500 * 2 ** (dice.below(70) / 10));
    const isAsset = dice.below(100) < assetShare * 100;
    const content = isAsset ? randomBytes(seed, sizeBytes) : programText(seed, sizeBytes);
    const isChanged = changes.below(1000) < changedShare * 1000 && version === 2;
    const at = changes.below(content.length);
    const parts = [content.subarray(0, at), Buffer.from("changed\n"), content.subarray(at)];
    const path = `${folder}/part${index % 23}/module${index}.${isAsset ? "png" : "py"}`;
    return file(path, isChanged ? Buffer.concat(parts) : content);
  });
  return withParents([...entries, file(`${folder}/version`, `${version}\n`)]);
}

/** Like `node_modules`: thousands of small files, licences equal, the rest not. */
export function nodeModules(folder: string, packages: number): Layer {
  const dice = new Dice(folder, packages * 40);
  const licences = Array.from({ length: 5 }, (_, index) => programText(`licence ${index}`, 1100));
  const entries = Array.from({ length: packages }, (_, index) => {
    const scope = dice.below(5) === 0 ? `@scope${dice.below(9)}/` : "";
    const path = `${folder}/${scope}package-${index}`;
    const version = `${dice.below(9)}.${dice.below(20)}.0`;
    const modules = Array.from({ length: 1 + dice.below(11) }, (__, number) =>
      file(`${path}/lib/m${number}.js`, programText(`${path} ${number}`, 100 + dice.below(2000))),
    );
    return [
      file(`${path}/LICENSE`, licences[dice.below(licences.length)] ?? ""),
      file(`${path}/package.json`, `{"name":"package-${index}","version":"${version}"}\n`),
      file(`${path}/.npmignore`, ""),
      ...modules,
    ];
  });
  return withParents(entries.flat());
}

export const weightBlockBytes = 4 * MiB;
const weightBlocks = 150;
/** Which blocks the second version has of its own. */
export const changedWeightBlocks: readonly number[] = [3, 17, 42, 64, 99, 120, 148];

/** 600 MiB that no compressor makes smaller. */
export function modelWeights(version: 1 | 2): Layer {
  const blocks = Array.from({ length: weightBlocks }, (_, index) => {
    const isChanged = version === 2 && changedWeightBlocks.includes(index);
    return randomBytes(`weights ${index}${isChanged ? " changed" : ""}`, weightBlockBytes);
  });
  return withParents([file("models/model.safetensors", Buffer.concat(blocks))]);
}

/** One large file that compresses well. */
export function largeText(sizeBytes: number): Layer {
  const pieceBytes = 4 * MiB;
  const pieces = Array.from({ length: sizeBytes / pieceBytes }, (_, index) =>
    programText(`large ${index}`, pieceBytes).subarray(0, pieceBytes),
  );
  return withParents([file("data/large.txt", Buffer.concat(pieces))]);
}
