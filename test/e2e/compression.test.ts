/**
 * The suite of a node with the other compressions: with `zstd`, which the other files have, each of
 * them meets each differ and each mount method at least once.
 */
import { containerd21, containerd21WithDiff } from "../support/containerd-flavours.ts";
import { describeNode } from "./node-suite.ts";

describeNode(containerd21WithDiff, "file", "deflate");
describeNode(containerd21WithDiff, "loop", "none");
describeNode(containerd21, "loop", "deflate");
describeNode(containerd21, "file", "none");
