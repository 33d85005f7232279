/**
 * Claims, promotes and deletes lazy layers until it is killed: `claim-loop.ts ROOT SEED`. Says
 * `ready` when it begins.
 */
import { compressionAlgorithm } from "../../../src/erofs/compression.ts";
import { fileType } from "../../../src/erofs/tree.ts";
import { TestLayerStore } from "../layer-store.ts";
import { Picker } from "../picker.ts";
import { text } from "../store-files.ts";
import { rawTar } from "../tar/raw-tar.ts";
import { lazyBlob } from "./lazy-blob.ts";
import { fillPack, noteWhole, tableOf } from "./lazy-store.ts";

const [path = "", seed = ""] = process.argv.slice(2);
const picker = new Picker(seed);
const base = { root: { mode: fileType.directory | 0o755, uid: 0, gid: 0 }, lower: [] };
const codec = { algorithm: compressionAlgorithm.zstd, level: 3 } as const;
const store = await TestLayerStore.open(path, codec);
const { layers, neighbours } = store;
process.stdout.write("ready\n");
for (;;) {
  const content = text(picker.integer(1000), 50_000 + picker.integer(200_000));
  const files = [
    { name: "file", content },
    { name: "shared", content: text(picker.integer(3), 70_000) },
  ];
  const blob = await lazyBlob(rawTar(files), "zstd-chunked");
  const { layerId, packId } = await layers.claim(tableOf(blob), base, new AbortController().signal);
  neighbours.referenced.add(layerId);
  layers.settle(layerId);
  if (packId !== undefined && picker.integer(3) > 0) {
    fillPack(store.root, packId, blob);
    await noteWhole(store.root, packId);
    await layers.markComplete(packId);
    await layers.promote(layerId);
  }
  const [oldest] = neighbours.referenced;
  if (oldest !== undefined && neighbours.referenced.size > 3) {
    neighbours.referenced.delete(oldest);
    await layers.release([oldest]);
  }
}
