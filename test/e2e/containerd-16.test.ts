/** The suite of a node, with containerd 1.6. */
import { containerd16 } from "../support/containerd-flavours.ts";
import { describeNode } from "./node-suite.ts";

describeNode(containerd16, "file");
describeNode(containerd16, "loop");
