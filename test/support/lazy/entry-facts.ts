/**
 * What an entry of a layer says, in a form in which a tar and a table of contents can be compared.
 *
 * @module
 */
import type { LazyEntry } from "../../../src/lazy/model.ts";
import type { TarEntry } from "../../../src/tar/entry.ts";
import { TarReader } from "../../../src/tar/reader.ts";
import { sha256Digest } from "../../../src/util/digest.ts";
import { pieces } from "../tar/raw-tar.ts";
import { readChunks } from "./lazy-blob.ts";

export interface EntryFacts {
  readonly entry: Omit<TarEntry, "offset" | "sizeBytes">;
  readonly content: string;
}

function factsOf(entry: TarEntry, content: Buffer): EntryFacts {
  const { type, flag, name, linkName, mode, uid, gid, xattrs } = entry;
  const { mtimeSeconds, mtimeNanoseconds, deviceMajor, deviceMinor } = entry;
  const time = { mtimeSeconds, mtimeNanoseconds };
  const owner = { mode, uid, gid, deviceMajor, deviceMinor };
  const sorted = xattrs
    .map(({ name: key, value }) => ({ name: key, value: Buffer.from(value) }))
    .sort((left, right) => (left.name < right.name ? -1 : 1));
  const isFile = type === "file";
  return {
    entry: { type, flag: isFile ? "0" : flag, name, linkName, ...time, ...owner, xattrs: sorted },
    content: isFile ? sha256Digest(content) : "",
  };
}

const special = /^(?:stargz\.index\.json|\.(?:no\.)?prefetch\.landmark)$/;

/** What a tar says of its files, but for those of the format. */
export async function factsOfTar(tar: Buffer): Promise<EntryFacts[]> {
  const reader = new TarReader(pieces(tar), { globalRecords: "ignore" });
  const facts: EntryFacts[] = [];
  for (let entry = await reader.next(); entry; entry = await reader.next()) {
    const content = Buffer.alloc(entry.type === "file" ? entry.sizeBytes : 0);
    await reader.readContent(content);
    if (!special.test(entry.name)) facts.push(factsOf(entry, content));
  }
  return facts;
}

/** What a table of contents says, the content verified chunk by chunk. */
export function factsOfLazy(bytes: Buffer, entries: readonly LazyEntry[]): EntryFacts[] {
  return entries.map((entry) => factsOf(entry, readChunks(bytes, entry)));
}
