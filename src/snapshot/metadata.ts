/**
 * What is known of the snapshots of the node: one row each, changed in transactions.
 *
 * Every method but `durable` and `close` is synchronous, so that nothing comes between a check and
 * the transaction after it. A transaction is visible at once, and on disk when a call of `durable`
 * that was made after it resolves.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { AppError } from "../errors.ts";
import { defined } from "../util/assert.ts";
import type {
  BlobNote,
  Labels,
  LayerDecision,
  LayerState,
  SnapshotKind,
  Usage,
} from "./contract.ts";
import { targetLabel } from "./claim-labels.ts";
import { openDatabase } from "./database.ts";
import type { SnapshotFilter } from "./filter.ts";
import {
  chainLinkOf,
  decisionOf,
  encodeBlob,
  encodeLabels,
  recordOf,
  type ChainLink,
  type SnapshotRecord,
  type SnapshotRow,
} from "./rows.ts";
import { prepareStatements, type Statements } from "./statements.ts";
import { WalSync } from "./wal-sync.ts";

export { checkpoint, logBytesMax } from "./database.ts";

export interface NewSnapshot {
  /** From `reserveId`. */
  readonly id: number;
  readonly name: string;
  readonly parentId: number | undefined;
  readonly kind: Exclude<SnapshotKind, "committed">;
  readonly nowNs: bigint;
  readonly labels: Labels;
}

export interface NewLayer {
  readonly id: number;
  readonly name: string;
  readonly parentId: number | undefined;
  readonly nowNs: bigint;
  readonly labels: Labels;
  readonly layer: LayerState;
  readonly usage: Usage;
}

/** A committed snapshot that never was an active one. */
export interface NewClaim extends Omit<NewLayer, "layer"> {
  readonly layerId: number;
  readonly tocDigest: string | undefined;
}

export interface AppliedLayer {
  /** Of the active snapshot. */
  readonly id: number;
  /** Undefined where it can only be made on the parent. */
  readonly layerId: number | undefined;
  /** What it was made of, if the snapshot may still get a parent. */
  readonly blob: BlobNote | undefined;
  readonly nowNs: bigint;
  readonly usage: Usage;
}

export interface PlainLayer {
  readonly name: string;
  readonly reason: string;
}

/** Decisions kept; more than the layers of all images a node has. */
export const decisionsKept = 10_000;

/** How many rows a page has at most. */
export const pageRows = 256;

export class SnapshotMetadata {
  /** True where there was no database before. */
  readonly isNew: boolean;
  readonly path: string;
  readonly #database: Database;
  readonly #statements: Statements;
  readonly #log: WalSync;
  #idLast: number;

  private constructor(path: string) {
    const { database, isNew } = openDatabase(path);
    this.path = path;
    this.isNew = isNew;
    this.#database = database;
    this.#statements = prepareStatements(database);
    this.#log = new WalSync(path);
    this.#idLast = Number(this.#statements.lastId.get()?.seq ?? 0);
  }

  /**
   * Opens the database at `path`, makes it where it is missing. Throws `data_loss` for a damaged
   * one and `failed_precondition` for one that another program or a newer version wrote.
   */
  static open(path: string): SnapshotMetadata {
    return new SnapshotMetadata(path);
  }

  /** Resolves when all transactions so far are on disk; `data_loss` if a sync ever failed. */
  durable(): Promise<void> {
    return this.#log.durable();
  }

  async close(): Promise<void> {
    try {
      await this.#log.close();
    } finally {
      this.#database.close();
    }
  }

  /** An id that no snapshot had or will have, whether or not this one comes to be. */
  reserveId(): number {
    this.#idLast += 1;
    return this.#idLast;
  }

  /** Keeps `reserveId` above ids that are in use outside the database: as names of directories. */
  skipIdsTo(id: number): void {
    this.#idLast = Math.max(this.#idLast, id);
  }

  find(name: string): SnapshotRecord | undefined {
    const row = this.#statements.find.get({ name });
    return row === null ? undefined : recordOf(row);
  }

  findById(id: number): SnapshotRecord | undefined {
    const row = this.#statements.findById.get({ id });
    return row === null ? undefined : recordOf(row);
  }

  /** Up to `pageRows` snapshots with ids above `afterId`, by id. */
  page(afterId: number, narrow: SnapshotFilter["narrow"]): SnapshotRecord[] {
    const { page, pageOfName, pageOfParent, pageOfRoots } = this.#statements;
    const limit = pageRows;
    const rows = (): SnapshotRow[] => {
      if (narrow === undefined) return page.all({ afterId, limit });
      if (narrow.field === "name") return pageOfName.all({ afterId, limit, name: narrow.value });
      if (narrow.value === "") return pageOfRoots.all({ afterId, limit });
      return pageOfParent.all({ afterId, limit, parent: narrow.value });
    };
    return rows().map(recordOf);
  }

  /** The snapshot with this id, which is committed, and its ancestors; nearest first. */
  chain(id: number | undefined): ChainLink[] {
    if (id === undefined) return [];
    return this.#statements.chain.all({ id }).map(chainLinkOf);
  }

  /** The committed snapshots on the parent that were made for the chain ID `target`. */
  findTarget(target: string, parentId: number | undefined): SnapshotRecord[] {
    const { committedChildren, committedRoots } = this.#statements;
    const rows =
      parentId === undefined ? committedRoots.all() : committedChildren.all({ id: parentId });
    return rows.map(recordOf).filter(({ labels }) => labels.get(targetLabel) === target);
  }

  hasChildren(id: number): boolean {
    return this.#statements.child.get({ id }) !== null;
  }

  /** Throws `already_exists` for a taken name. */
  insert(snapshot: NewSnapshot): void {
    const { id, name, kind, nowNs, labels } = snapshot;
    this.#write(name, () => {
      const parentId = snapshot.parentId ?? null;
      const row = { id, name, kind, parentId, nowNs, labels: encodeLabels(labels) };
      this.#statements.insert.run(row);
    });
  }

  /** Throws `already_exists` for a taken name. */
  claim({ parentId, tocDigest, labels, usage, ...rest }: NewClaim): void {
    this.#write(rest.name, () => {
      const made = { parentId: parentId ?? null, tocDigest: tocDigest ?? null, ...usage };
      this.#statements.claim.run({ ...rest, ...made, labels: encodeLabels(labels) });
    });
  }

  /** Replaces what was decided before of the same layer of the image. */
  noteDecision({ layerId, ...decision }: LayerDecision): void {
    this.#write("", () => {
      this.#statements.noteDecision.run({ ...decision, layerId: layerId ?? null });
      this.#statements.forgetDecisions.run({ kept: decisionsKept });
    });
  }

  /** The oldest first. */
  decisions(): LayerDecision[] {
    return this.#statements.decisions.all().map(decisionOf);
  }

  /** Gives the active snapshot the layer that its commit will publish. */
  apply({ id, layerId, blob, nowNs, usage }: AppliedLayer): void {
    this.#write("", () => {
      const { changes } = this.#statements.apply.run({
        id,
        layerId: layerId ?? null,
        blob: blob === undefined ? null : encodeBlob(blob),
        nowNs,
        ...usage,
      });
      if (changes !== 1) throw new AppError("internal", `No active snapshot has the id ${id}`);
    });
  }

  /** Makes the active snapshot a committed one. Throws `already_exists` for a taken name. */
  commit(committed: NewLayer): void {
    const { id, name, nowNs, labels, layer, usage } = committed;
    this.#write(name, () => {
      const { changes } = this.#statements.commit.run({
        id,
        name,
        parentId: committed.parentId ?? null,
        nowNs,
        labels: encodeLabels(labels),
        layerId: layer.kind === "image" ? layer.layerId : null,
        plainReason: layer.kind === "plain" ? layer.reason : null,
        sizeBytes: usage.sizeBytes,
        inodes: usage.inodes,
      });
      if (changes !== 1) throw new AppError("internal", `No active snapshot has the id ${id}`);
    });
  }

  /** The snapshots that have a layer then have another, which shows the same. */
  moveLayer(from: number, to: number): void {
    this.#write("", () => this.#statements.moveLayer.run({ from, to }));
    this.#write("", () => this.#statements.moveDecisions.run({ from, to }));
  }

  setLabels(name: string, labels: Labels, nowNs: bigint): void {
    this.#write(name, () =>
      this.#statements.setLabels.run({ name, labels: encodeLabels(labels), nowNs }),
    );
  }

  remove(id: number): void {
    this.#write("", () => this.#statements.remove.run({ id }));
  }

  /** The ids of the snapshots that have a directory: all that are not kept as an image. */
  directoryIds(): Set<number> {
    return new Set(this.#statements.directoryIds.all().map((row) => Number(row.id)));
  }

  isLayerReferenced(layerId: number): boolean {
    return this.#statements.layerUser.get({ layerId }) !== null;
  }

  /** By the id of the layer, how many snapshots are kept as this image, or have it applied. */
  layerReferences(): Map<number, number> {
    const rows = this.#statements.layerReferences.all();
    return new Map(rows.map((row) => [Number(row.layer_id), Number(row.count)]));
  }

  /** By the id of the layer, the active snapshots and views that show it. */
  layerUsers(): Map<number, number[]> {
    const users = new Map<number, number[]>();
    for (const row of this.#statements.layerUsers.all()) {
      const layerId = Number(row.layer_id);
      const snapshots = users.get(layerId);
      if (snapshots === undefined) users.set(layerId, [Number(row.id)]);
      else snapshots.push(Number(row.id));
    }
    return users;
  }

  /** The committed snapshots that are kept as a directory, oldest first. */
  plainLayers(): PlainLayer[] {
    return this.#statements.plainLayers.all();
  }

  /** A value that belongs to the root as a whole; undefined where it was never set. */
  value(key: string): string | undefined {
    return this.#statements.value.get({ key })?.value;
  }

  setValue(key: string, value: string): void {
    this.#write("", () => this.#statements.setValue.run({ key, value }));
  }

  /** Each statement is a transaction of its own; of several, the first is what matters. */
  #write(name: string, statement: () => unknown): void {
    this.#log.assertHealthy();
    try {
      statement();
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code !== "SQLITE_CONSTRAINT_UNIQUE") throw error;
      const problem = `Snapshot "${defined(name, "the name")}" is there already`;
      throw new AppError("already_exists", problem, { cause: error });
    }
  }
}
