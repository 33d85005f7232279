/** Update: the labels of a snapshot, which are all that can change. */
import { AppError } from "../errors.ts";
import { guardSteps, requireSnapshot, type SnapshotContext } from "./context.ts";
import type { Labels, SnapshotInfo } from "./contract.ts";
import { checkLabels } from "./limits.ts";

const labelPrefix = "labels.";

export async function updateLabels(
  { metadata, nowNs }: SnapshotContext,
  name: string,
  labels: Labels,
  fieldPaths: readonly string[],
): Promise<SnapshotInfo> {
  const before = requireSnapshot(metadata, name);
  const after = masked(before, labels, fieldPaths);
  checkLabels(after);
  return await guardSteps(`Cannot update snapshot "${name}"`, async () => {
    metadata.setLabels(name, after, nowNs());
    const updated = requireSnapshot(metadata, name);
    await metadata.durable();
    return updated;
  });
}

/** The labels by the field mask; empty values stand for removal, as in containerd's metastore. */
function masked(before: SnapshotInfo, labels: Labels, fieldPaths: readonly string[]): Labels {
  let after = new Map(fieldPaths.length === 0 ? labels : before.labels);
  for (const path of fieldPaths) {
    if (path === "labels") {
      after = new Map(labels);
    } else if (path.startsWith(labelPrefix)) {
      const key = path.slice(labelPrefix.length);
      after.set(key, labels.get(key) ?? "");
    } else {
      const problem = `Cannot update field "${path}" of snapshot "${before.name}"`;
      throw new AppError("invalid_argument", problem);
    }
  }
  return new Map([...after].filter(([, value]) => value !== ""));
}
