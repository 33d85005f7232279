/** The suite of a node, with containerd 2.1, our Diff service and images of mkfs.erofs. */
import { containerd21Mkfs } from "../support/containerd-flavours.ts";
import { describeNode } from "./node-suite.ts";

describeNode(containerd21Mkfs, "file");
describeNode(containerd21Mkfs, "loop");
