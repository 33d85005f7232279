import { describeBackend } from "./backend-suite.ts";

describeBackend({
  name: "fanotify",
  modes: [
    { method: "file", directIo: true },
    { method: "file", directIo: false },
  ],
  waitsForReads: true,
  failsClosed: false,
});
