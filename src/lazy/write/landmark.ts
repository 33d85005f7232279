/**
 * The file in a layer that says how much of it should be there before a container starts.
 *
 * @module
 */
import type { TarEntry } from "../../tar/entry.ts";
import { typeFlag } from "../../tar/format.ts";
import type { ByteString } from "../../util/byte-string.ts";
import { landmarkContent } from "../special-files.ts";
import { fileHeader, paddingOf } from "./tar-header.ts";
import type { TarPart } from "./tar-parts.ts";

const mode = 0o644;

/** One of the names in `special-files.ts`. */
export function* landmarkParts(name: ByteString): Generator<TarPart, void> {
  const sizeBytes = landmarkContent.length;
  const entry: TarEntry = {
    type: "file",
    flag: typeFlag.regular,
    offset: 0,
    name,
    linkName: "" as ByteString,
    sizeBytes,
    mode,
    uid: 0,
    gid: 0,
    mtimeSeconds: 0,
    mtimeNanoseconds: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: [],
  };
  yield { kind: "raw", bytes: fileHeader(name, sizeBytes, mode) };
  yield { kind: "entry", entry, times: { access: undefined, change: undefined } };
  yield { kind: "content", bytes: landmarkContent, offsetBytes: 0, release: () => undefined };
  yield { kind: "raw", bytes: paddingOf(sizeBytes) };
}
