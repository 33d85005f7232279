/**
 * Where images come from and where they go: a registry, or an OCI layout on disk.
 *
 * @module
 */
import type { Descriptor } from "../containerd/descriptor.ts";

/** A blob that lies in a file. */
export interface FileRange {
  readonly path: string;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface ImageSource {
  /** As the user named it. */
  readonly name: string;
  /** The manifest or index that the name stands for. */
  resolve(): Promise<Descriptor>;
  /** A manifest or index, verified. */
  manifest(descriptor: Descriptor): Promise<Uint8Array>;
  /** All of a blob in order; not verified. */
  blob(blob: Descriptor): AsyncIterable<Uint8Array>;
  /** Exactly that part of a blob; not verified. */
  blobRange(blob: Descriptor, offsetBytes: number, lengthBytes: number): Promise<Uint8Array>;
  /** Where the blob lies on this machine; undefined where it has to be fetched. */
  localBlob(blob: Descriptor): Promise<FileRange | undefined>;
}

export interface ImageTarget {
  readonly name: string;
  /** A folder for files on their way to `putFile`; removed by `close`. */
  readonly workFolder: string;
  /** Takes a blob; `content` is called for each attempt. */
  putBlob(blob: Descriptor, content: () => AsyncIterable<Uint8Array>): Promise<void>;
  /** Takes a blob that lies in a synced file of `workFolder`, which is gone afterwards. */
  putFile(blob: Descriptor, path: string): Promise<void>;
  /** Stores a manifest or index; what it refers to is there. */
  putManifest(descriptor: Descriptor, bytes: Uint8Array): Promise<void>;
  /** Makes that manifest or index the one that the name stands for. */
  finish(descriptor: Descriptor, bytes: Uint8Array): Promise<void>;
  /** Removes what is not needed any more, whether or not it was finished. */
  close(): Promise<void>;
}
