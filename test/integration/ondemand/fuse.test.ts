import { describeBackend } from "./backend-suite.ts";

describeBackend({
  name: "fuse",
  modes: [
    { method: "file", directIo: true },
    { method: "loop", directIo: true },
    { method: "loop", directIo: false },
  ],
  failsClosed: true,
  waitsForReads: true,
});
