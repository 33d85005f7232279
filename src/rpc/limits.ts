import { MiB } from "../util/bytes.ts";

/** containerd's own limit of a message, in both directions (defaults.DefaultMaxRecvMsgSize). */
export const messageBytesMax = 16 * MiB;
