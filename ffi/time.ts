/** The clock in full resolution: clock_gettime(2). */
import { check } from "./errno.ts";
import { libc } from "./libc.ts";
import { zeroed } from "./memory.ts";

const realtimeClock = 0;
const nsPerSecond = 1_000_000_000n;

const timespec = zeroed(16);

/** Nanoseconds since 1970. */
export function realtimeNs(): bigint {
  check(libc().clock_gettime(realtimeClock, timespec), "clock_gettime", "realtime");
  return timespec.readBigInt64LE(0) * nsPerSecond + timespec.readBigInt64LE(8);
}
