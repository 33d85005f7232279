/** What a conversion says while it is under way. */

export interface ConversionEvents {
  /** All layers of the image, each counted once. */
  started(layers: number, sizeBytes: number): void;
  /** So much more of the layers was read. */
  progressed(sizeBytes: number): void;
  layerDone(outcome: LayerOutcome): void;
  /** Something of the image does not go along. */
  leftOut(what: string): void;
}

export interface LayerOutcome {
  readonly digest: string;
  readonly sizeBytes: number;
  /** Why the layer is as it was; undefined where it was converted. */
  readonly keptBecause?: string;
  readonly convertedBytes: number;
}

/** The layers of an image, or of all its platforms, and what became of them. */
export interface ConversionReport {
  readonly digest: string;
  readonly layers: readonly LayerOutcome[];
  /** Wanted paths that no layer has. */
  readonly missing: readonly string[];
  /** Lines of the trace that name no content of a converted layer. */
  readonly unknown: number;
}
