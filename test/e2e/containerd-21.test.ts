/** The suite of a node, with containerd 2.1. */
import { containerd21 } from "../support/containerd-flavours.ts";
import { describeNode } from "./node-suite.ts";

describeNode(containerd21, "file");
describeNode(containerd21, "loop");
