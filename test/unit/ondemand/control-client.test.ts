import { expect, test } from "bun:test";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { ControlClient } from "../../../src/ondemand/control-client.ts";

const answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]";

test("ControlClient keeps no connection, which may be that of a dedupd that stops", async () => {
  using scratch = scratchFolder("unit");
  const unix = join(scratch.path, "dedupd.sock");
  let connections = 0;
  using _server = Bun.listen({
    unix,
    socket: {
      open: () => void (connections += 1),
      data: (socket) => void socket.write(answer),
    },
  });
  const client = new ControlClient(unix);
  for (const _ of [1, 2]) expect(await client.packs()).toEqual([]);
  expect(connections).toBe(2);
});
