/**
 * Images of the family, converted to eStargz, with programs that say when they are ready.
 *
 * @module
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Image } from "../../../test/support/image/oci.ts";
import { layoutImage, writeLayout } from "../../../test/support/image/layout.ts";
import { ensureCached } from "../../lib/cached.ts";
import { runCommand } from "../../lib/process.ts";
import { binaryFile, say } from "../../lib/project.ts";
import { cacheFolder } from "../../lib/temp.ts";
import { familyImages } from "../images/family.ts";

export const readyLine = "it is ready";

/** What is started: a shell command that prints the line once the program works. */
const programs: Readonly<Record<string, string>> = {
  "python-sci:1": `python3 -c 'import numpy; print("${readyLine}", flush=True)'`,
  "app:1": `python3 -c 'import numpy, scipy.stats, django, lxml.etree, psycopg2, requests
print("${readyLine}", flush=True)'`,
  "node:1": `node -e 'console.log("${readyLine}")'`,
  "postgres:15": `su postgres -c 'set -e
  PATH=$PATH:/usr/lib/postgresql/15/bin
  initdb --pgdata=/tmp/data > /dev/null
  pg_ctl --pgdata=/tmp/data --wait --options="-k /tmp" start > /dev/null
  psql --host=/tmp --command="select 1" > /dev/null
  echo ${readyLine}
  pg_ctl --pgdata=/tmp/data --mode=immediate stop > /dev/null'`,
  "java:17": `java -version 2> /dev/null && echo ${readyLine}`,
  "nginx:1": `nginx && echo ${readyLine} && nginx -s stop`,
};

export const lazyImageNames: readonly string[] = Object.keys(programs);

export interface LazyImage {
  readonly image: Image;
  readonly command: string;
}

/** Changed when the converter makes other bytes of the same layers. */
const version = 1;

function folderOf(name: string): string {
  return name.replace(":", "-");
}

/** The images of these names; converted at the first call, after the family was built. */
export async function lazyImages(names: readonly string[]): Promise<LazyImage[]> {
  const originals = await familyImages("full");
  const folder = join(cacheFolder("family"), `estargz-v${version}-${process.arch}`);
  await ensureCached(folder, "the images as eStargz", async (partial) => {
    const source = join(partial, "source");
    for (const name of lazyImageNames) {
      const original = originals.find((image) => image.name === name);
      if (original === undefined) throw new Error(`the family has no image ${name}`);
      await writeLayout(source, original);
      await runCommand([binaryFile, "convert", source, join(partial, folderOf(name))]);
      await rm(source, { recursive: true });
      say(`  converted ${name}`);
    }
  });
  return names.map((name) => ({
    image: layoutImage(join(folder, folderOf(name)), name),
    command: programs[name] ?? "",
  }));
}
