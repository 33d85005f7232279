/** Visits each failpoint that its parameters name, and says so; tells of the fault it has. */
import { failpoint, type Failpoint, faults, hasFault } from "../../src/util/failpoint.ts";

for (const name of process.argv.slice(2)) {
  failpoint(name as Failpoint);
  process.stdout.write(`${name}\n`);
}
for (const name of faults) if (hasFault(name)) process.stdout.write(`${name}\n`);
