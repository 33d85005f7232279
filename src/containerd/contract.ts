/**
 * What we ask of containerd, whose clients we serve.
 *
 * containerd can do everything that its Diff service does without us; so whatever we cannot do, or
 * cannot do right, is handed to it, and the client sees no difference but in speed.
 *
 * @module
 */

/** On whose behalf containerd is asked: it knows no blob without. */
export interface CallScope {
  readonly namespace: string | undefined;
  /** Keeps what the call makes from being collected as garbage. */
  readonly lease: string | undefined;
}

/** containerd's content service, as far as layers need it. */
export interface BlobReader {
  /**
   * A part of a blob, whole. Rejects with `not_found` for an unknown blob.
   *
   * @param lengthBytes 0: to the end
   */
  readBlob(
    digest: string,
    offsetBytes: number,
    lengthBytes: number,
    scope: CallScope,
  ): Promise<Uint8Array>;
}
