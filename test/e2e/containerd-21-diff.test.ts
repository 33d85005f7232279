/** The suite of a node, with containerd 2.1 and our Diff service. */
import { containerd21Delegated, containerd21WithDiff } from "../support/containerd-flavours.ts";
import { describeNode } from "./node-suite.ts";

describeNode(containerd21WithDiff, "file");
describeNode(containerd21WithDiff, "loop");
describeNode(containerd21Delegated, "file");
