/**
 * The FUSE backend: packs are files of one FUSE file system. Who reads missing bytes waits; when
 * this process dies and nobody keeps the channel, readers get errors, never zeros.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { statOf } from "../../../ffi/status.ts";
import { AppError } from "../../errors.ts";
import { FuseServers } from "../../fuse-servers.ts";
import { exposedPacks } from "../../store/exposed-packs.ts";
import { packPath, type StorePaths, storePaths } from "../../store/paths.ts";
import type { BackendOptions } from "../backends.ts";
import type { LazyBackend, LazyPack } from "../contract.ts";
import { closeChannel, type FuseChannel, openChannel } from "./channel.ts";
import { encodeInvalidateEntry, encodeInvalidateInode, notify } from "./notifications.ts";
import { nameOfPack, nodeOfPack } from "./nodes.ts";
import { PackTable } from "./pack-table.ts";
import { rootNode } from "./protocol.ts";
import type { PieceRead } from "../read-log.ts";
import { ReplyWriter } from "./reply-writer.ts";
import type { PassedRequest } from "./server.ts";
import { WaitingReads } from "./waiting-reads.ts";

/**
 * As `OpenBackend`. Who opens or reads packs that a process before this one had exposed waits until
 * they are exposed again.
 */
export async function openFuseBackend(options: BackendOptions): Promise<LazyBackend> {
  return new FuseBackend(options, await openChannel(options.root, options.keeper));
}

/** Somebody may have unmounted the file system that others still use. */
async function assertServed(path: string): Promise<void> {
  try {
    await stat(path);
  } catch (cause) {
    throw new AppError("unavailable", `"${path}" is not served`, {
      cause,
      remedy: `mount | grep "${dirname(path)}" shows whether it is still mounted; restart dedupd`,
    });
  }
}

class FuseBackend implements LazyBackend {
  readonly name = "fuse";
  readonly #channel: FuseChannel;
  readonly #packs = new PackTable();
  readonly #waiting: WaitingReads;
  readonly #servers: FuseServers;
  readonly #paths: StorePaths;

  constructor({ root, demand, log, threads, onCrash }: BackendOptions, channel: FuseChannel) {
    this.#channel = channel;
    this.#paths = storePaths(root);
    for (const packId of exposedPacks(this.#paths))
      if (existsSync(packPath(this.#paths, packId))) this.#packs.expect(packId);
    const replies = new ReplyWriter(channel.fd);
    this.#waiting = new WaitingReads({ replies, packs: this.#packs, demand, log });
    this.#servers = new FuseServers({
      channel: channel.fd,
      packs: this.#packs.shared,
      mountPoint: channel.mountPoint,
      threads,
      pass: (request) => this.#serve(request),
      onCrash,
    });
  }

  /**
   * Mounts to come need nobody between them and a pack that is complete. It is served all the same:
   * a process before this one may have exposed it when it was not.
   */
  async expose(pack: LazyPack): Promise<string> {
    const { packId, path, presence, file } = pack;
    if (!this.#packs.has(packId)) {
      this.#packs.expose(pack, statOf(file).sizeBytes);
      this.#waiting.exposed(packId);
    }
    if (presence.isComplete) {
      this.#packs.markComplete(packId);
      return path;
    }
    const exposed = join(this.#channel.mountPoint, nameOfPack(packId));
    await this.#servers.ready;
    await assertServed(exposed);
    return exposed;
  }

  /** Who has the file open stays with it: a FUSE file cannot become another one. */
  complete({ packId }: LazyPack): Promise<void> {
    this.#packs.markComplete(packId);
    return Promise.resolve();
  }

  async withdraw(packId: number): Promise<void> {
    this.#packs.forget(packId);
    const wasExposed = this.#packs.has(packId);
    if (wasExposed) await this.#packs.withdraw(packId);
    this.#waiting.withdrawn(packId);
    if (!wasExposed) return;
    const { fd } = this.#channel;
    for (const notification of [
      encodeInvalidateEntry(rootNode, nameOfPack(packId)),
      encodeInvalidateInode(nodeOfPack(packId)),
    ])
      await notify(fd, notification);
  }

  takeReads(): Iterable<PieceRead> {
    return this.#packs.reads.take();
  }

  async close(): Promise<void> {
    await this.#servers.stop();
    this.#waiting.abandon();
    // Those of the process before may not be exposed again yet.
    const packs = [...this.#packs.ids()];
    for (const packId of packs) await this.#packs.withdraw(packId);
    closeChannel(this.#channel, packs.length > 0 || exposedPacks(this.#paths).length > 0);
  }

  #serve(request: PassedRequest): void {
    if (request.kind === "read") void this.#waiting.read(request);
    else if (request.kind === "question") void this.#waiting.question(request);
    else this.#waiting.interrupt(request);
  }
}
