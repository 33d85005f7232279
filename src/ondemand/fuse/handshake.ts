/**
 * FUSE_INIT, the first request: what is settled for the life of a mount.
 *
 * @module
 */
import { FormatError } from "../../errors.ts";
import { KiB, MiB } from "../../util/bytes.ts";
import { inHeader, initFlag, initFlag2, initIn, initOut, protocolVersion } from "./protocol.ts";
import { writeBytesMax } from "./requests.ts";

/** The most the kernel allows (fs.fuse.max_pages_limit): what EROFS asks for at once is less. */
export const readBytesMax = MiB;
const pageBytes = 4 * KiB;

/**
 * Reads of EROFS are asynchronous, which FUSE counts as "background" and by default passes on only
 * twelve at a time: a dozen that wait for the network would stop all others, also those whose data
 * is there. The largest number there is.
 */
const backgroundMax = 0xffff;

/** What the first request and our answer to it settled for the life of the mount. */
export interface Negotiated {
  readonly reply: Uint8Array;
  /** Requests that a process took and did not answer can be asked for again (Linux 6.9). */
  readonly hasResend: boolean;
}

/** @param bytes the whole request FUSE_INIT */
export function negotiate(bytes: Uint8Array): Negotiated {
  const offered = initIn.decode(bytes.subarray(inHeader.sizeBytes));
  if (offered.major !== protocolVersion.major)
    throw new FormatError("FUSE_INIT", inHeader.sizeBytes, `version ${offered.major}`);
  const flags2 = (offered.flags & initFlag.extended) === 0 ? 0 : offered.flags2;
  const wanted =
    initFlag.asyncRead |
    initFlag.asyncDirectIo |
    initFlag.parallelDirectoryOperations |
    initFlag.maxPages |
    initFlag.extended;
  const reply = initOut.encode({
    ...protocolVersion,
    readaheadBytesMax: offered.readaheadBytesMax,
    flags: offered.flags & wanted,
    backgroundMax,
    congestionThreshold: backgroundMax,
    writeBytesMax,
    timeGranularityNs: 1,
    pagesMax: readBytesMax / pageBytes,
    flags2: flags2 & initFlag2.hasResend,
  });
  return { reply, hasResend: (flags2 & initFlag2.hasResend) !== 0 };
}
