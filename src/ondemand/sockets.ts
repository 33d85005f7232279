/**
 * Where the processes of on-demand loading listen: beside the socket containerd connects to.
 *
 * @module
 */

export interface SocketPaths {
  /** gRPC, for containerd. */
  readonly serve: string;
  /** HTTP, for `serve` and the CLI (control.ts). */
  readonly dedupd: string;
  /** Of the process that keeps channels to the kernel open. */
  readonly keeper: string;
}

/**
 * @param address `address` of the configuration: `/run/containerd/dedup-snapshotter.sock` gives
 *   `/run/containerd/dedup-snapshotter-dedupd.sock`
 */
export function socketPaths(address: string): SocketPaths {
  const stem = address.replace(/\.sock$/, "");
  return { serve: address, dedupd: `${stem}-dedupd.sock`, keeper: `${stem}-keeper.sock` };
}
