import { describeBackend } from "./backend-suite.ts";

describeBackend({
  name: "eager",
  modes: [
    { method: "file", directIo: true },
    { method: "loop", directIo: true },
  ],
  failsClosed: true,
  waitsForReads: false,
});
