/**
 * containerd's snapshot service: requests to the domain and back, nothing else.
 *
 * The `snapshotter` of a request is ignored, as every proxy plugin does: containerd fills in the
 * name it knows us by, which is the business of its configuration.
 *
 * @module
 */
import { MiB } from "../util/bytes.ts";
import type { Logger } from "../util/logger.ts";
import type { Mount, SnapshotInfo, SnapshotService } from "../snapshot/contract.ts";
import { infoBytes, infoMessage, mountMessage } from "./convert.ts";
import type {
  Info,
  ListSnapshotsResponse,
  SnapshotsServer,
} from "./gen/containerd/services/snapshots/v1/snapshots.ts";
import { streaming, unary } from "./handlers.ts";

/** As containerd's own service sends them. */
const infosPerMessageMax = 100;
/** Far below the 16 MiB a containerd client takes, so that one more long entry still fits. */
const infoBytesPerMessageMax = 4 * MiB;

export function snapshotHandlers(service: SnapshotService, log: Logger): SnapshotsServer {
  return {
    prepare: unary("Prepare", log, async ({ key, parent, labels }) =>
      mountsMessage(await service.prepare(key, parent, labels)),
    ),
    view: unary("View", log, async ({ key, parent, labels }) =>
      mountsMessage(await service.view(key, parent, labels)),
    ),
    mounts: unary("Mounts", log, async ({ key }) => mountsMessage(await service.mounts(key))),
    commit: unary("Commit", log, async ({ name, key, labels, parent }) => {
      await service.commit(name, key, { labels, parent });
      return {};
    }),
    remove: unary("Remove", log, async ({ key }) => {
      await service.remove(key);
      return {};
    }),
    stat: unary("Stat", log, ({ key }) => ({ info: infoMessage(service.stat(key)) })),
    update: unary("Update", log, async ({ info, updateMask }) => {
      const { name = "", labels = new Map<string, string>() } = info ?? {};
      return { info: infoMessage(await service.update(name, labels, updateMask ?? [])) };
    }),
    list: streaming("List", log, ({ filters }) => listMessages(service.list(filters))),
    usage: unary("Usage", log, async ({ key }) => {
      const { sizeBytes, inodes } = await service.usage(key);
      return { size: BigInt(sizeBytes), inodes: BigInt(inodes) };
    }),
    cleanup: unary("Cleanup", log, async () => {
      await service.cleanup();
      return {};
    }),
  };
}

function mountsMessage(mounts: readonly Mount[]): { mounts: ReturnType<typeof mountMessage>[] } {
  return { mounts: mounts.map(mountMessage) };
}

function* listMessages(pages: Iterable<readonly SnapshotInfo[]>): Generator<ListSnapshotsResponse> {
  let batch: Info[] = [];
  let bytes = 0;
  for (const page of pages) {
    for (const info of page) {
      const message = infoMessage(info);
      batch.push(message);
      bytes += infoBytes(message);
      if (batch.length < infosPerMessageMax && bytes < infoBytesPerMessageMax) continue;
      yield { info: batch };
      batch = [];
      bytes = 0;
    }
  }
  if (batch.length > 0) yield { info: batch };
}
