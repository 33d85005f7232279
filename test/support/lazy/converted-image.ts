/** Images that `convert` has made lazy. */
import { join } from "node:path";
import { runCommand } from "../../../scripts/lib/process.ts";
import { binaryFile } from "../../../scripts/lib/project.ts";
import type { Layer } from "../image/layer.ts";
import { layoutImage, writeLayout } from "../image/layout.ts";
import { type Image, makeImage, packLayer } from "../image/oci.ts";

/** The layout is `<folder>/<name>-<format>`, where the name has a hyphen for its colon. */
export async function convertedImage(
  folder: string,
  name: string,
  layers: readonly Layer[],
  format = "estargz",
): Promise<Image> {
  const stem = join(folder, name.replace(":", "-"));
  const source = `${stem}-source`;
  const out = `${stem}-${format}`;
  await writeLayout(source, makeImage(name, layers.map(packLayer)));
  await runCommand([binaryFile, "convert", source, out, "--format", format]);
  return layoutImage(out, name);
}
