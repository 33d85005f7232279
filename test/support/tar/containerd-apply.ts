/**
 * containerd's differ as a command: what every tree we build from a tar is held against.
 *
 * @module
 */
import { chmodSync, lstatSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../../../scripts/lib/process.ts";
import { LowerDirectories } from "../../../src/layer/lower-directories.ts";
import { buildTarTree, type TarTree } from "../../../src/layer/tar-tree.ts";
import { type FileFacts, type Tree, treeDifferences } from "../image/model.ts";
import { readTree } from "../tree.ts";
import { buildGoProgram } from "../go-program.ts";
import { MemorySink } from "./memory-sink.ts";
import { pieces } from "./raw-tar.ts";
import { factsOfTree, withoutDeviations } from "./tar-facts.ts";

/** Small, so that small files have several chunks. */
const chunkBytes = 4096;

export interface ChainResult {
  /** Of each layer: "ok", or what containerd said. */
  readonly unpacked: readonly string[];
  readonly differences: readonly string[];
  readonly trees: readonly Tree[];
}

/**
 * What containerd refuses and we do not, by its message: hard links to files of layers below,
 * directories where a layer below has a file, and loops that only the kernel sees (containerd takes
 * `..` in a symlink for the name before it, but asks the kernel with the whole path).
 */
function isAcceptedByUs(answer: string, upper: string): boolean {
  if (/^link .*: no such file or directory$/.test(answer)) return true;
  if (/lstat .*: too many levels of symbolic links$/.test(answer)) return true;
  return /^lstat .*: not a directory$/.test(answer) && !answer.includes(`${upper}/`);
}

/** What we leave to containerd. */
function isRefusedByUs(error: Error): boolean {
  return error.message.endsWith("an opaque mark after deletions in a first layer");
}

function isSymlink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}

/**
 * Containerd looks for the attributes of missing parents in one layer below after the other, and
 * follows a symlink inside the layer it is in; we follow it in all of them together, as everybody
 * will who uses the image. So directories in place of symlinks are left out.
 */
function withoutCoveredLinks(left: Tree, right: Tree, lower: readonly string[]): [Tree, Tree] {
  const isKept = ([path]: readonly [string, FileFacts]) => {
    const parts = path.split("/");
    const prefixes = parts.map((_, index) => parts.slice(0, index + 1).join("/"));
    return !lower.some((folder) => prefixes.some((prefix) => isSymlink(join(folder, prefix))));
  };
  return [new Map([...left].filter(isKept)), new Map([...right].filter(isKept))];
}

/** Applies chains of layers both ways. All of a chain's layers after a refused one are left out. */
export async function compareChains(
  folder: string,
  chains: readonly (readonly Uint8Array[])[],
): Promise<ChainResult[]> {
  const lines: string[] = [];
  for (const [index, layers] of chains.entries()) {
    const uppers: string[] = [];
    for (const [number, tar] of layers.entries()) {
      const upper = join(folder, `${index}`, `${number}`);
      mkdirSync(upper, { recursive: true });
      chmodSync(upper, 0o755);
      writeFileSync(`${upper}.tar`, tar);
      lines.push([upper, uppers.join(":"), `${upper}.tar`].join("\t"));
      uppers.unshift(upper);
    }
  }
  const program = await buildGoProgram(join(import.meta.dir, "apply-fixture.go"));
  const output = await runCommand([program], { stdin: `${lines.join("\n")}\n` });
  const answers = output.trimEnd().split("\n");
  const results: ChainResult[] = [];
  for (const [index, layers] of chains.entries()) {
    const own = answers.splice(0, layers.length);
    results.push(await compareChain(join(folder, `${index}`), layers, own));
  }
  return results;
}

async function compareChain(
  folder: string,
  layers: readonly Uint8Array[],
  unpacked: readonly string[],
): Promise<ChainResult> {
  const differences: string[] = [];
  const trees: Tree[] = [];
  const uppers: string[] = [];
  for (const [number, tar] of layers.entries()) {
    const upper = join(folder, `${number}`);
    const answer = unpacked[number] ?? "no answer";
    const built = await buildOn(uppers, tar);
    if (answer !== "ok") {
      const isRefused = built instanceof Error;
      if (!isRefused && !isAcceptedByUs(answer, upper)) differences.push(`accepted: ${answer}`);
      break;
    }
    if (built instanceof Error) {
      if (isRefusedByUs(built)) break;
      differences.push(`layer ${number} refused: ${built.message}`);
      break;
    }
    const tree = factsOfTree(built.tree.tree, built.sink);
    trees.push(tree);
    const [left, right] = withoutDeviations(readTree(upper), tree);
    if (treeDifferences(left, right).length > 0) {
      differences.push(...treeDifferences(...withoutCoveredLinks(left, right, uppers)));
    }
    if (differences.length > 0) break;
    uppers.unshift(upper);
  }
  return { unpacked, differences, trees };
}

interface Built {
  readonly tree: TarTree;
  readonly sink: MemorySink;
}

/** The tree on layers that were unpacked, or the error. */
async function buildOn(uppers: readonly string[], tar: Uint8Array): Promise<Built | Error> {
  const sink = new MemorySink();
  using lower = new LowerDirectories(uppers);
  const options = { sink, chunkBytes, ...(uppers.length === 0 ? {} : { lower }) };
  try {
    return { tree: await buildTarTree(pieces(tar), options), sink };
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}
