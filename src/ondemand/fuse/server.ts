/**
 * Answers the kernel, in a thread of its own that does nothing else: everything that is there at
 * once. Reads of what is missing are passed on, and the thread goes on with other requests.
 *
 * @module
 */
import { errnoNumber } from "../../../ffi/errno.ts";
import { readRequest } from "../../../ffi/fuse.ts";
import { zeroed } from "../../../ffi/memory.ts";
import { type CancelFlag, isCancelled } from "../../util/cancel-flag.ts";
import {
  decodeHead,
  decodeInterrupt,
  decodeName,
  decodeRead,
  requestBytesMax,
  type RequestHead,
  unansweredOpcodes,
} from "./requests.ts";
import { readBytesMax } from "./handshake.ts";
import { encodeAttributes, encodeDirectory, encodeOpenDirectory, encodeStatFs } from "./replies.ts";
import { entriesFrom, packOfName, packOfNode, rootFacts } from "./nodes.ts";
import { answerOfPack, type PackOpcode } from "./pack-answers.ts";
import { type PackRow, PackTable, type SharedTable } from "./pack-table.ts";
import { PackViews } from "./pack-view.ts";
import { opcode, rootNode } from "./protocol.ts";
import { ReplyWriter } from "./reply-writer.ts";
import { failpoint } from "../../util/failpoint.ts";

/** A read that somebody else has to answer. */
export interface PassedRead {
  readonly kind: "read";
  readonly unique: bigint;
  readonly packId: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** The thread that reads; 0 where it cannot be told. */
  readonly pid: number;
}

/** Whoever waits for a read has got a signal. */
export interface PassedInterrupt {
  readonly kind: "interrupt";
  readonly unique: bigint;
  readonly interrupted: bigint;
}

/** What a pack is like that is not exposed again yet. */
export interface PassedQuestion {
  readonly kind: "question";
  readonly opcode: PackOpcode;
  readonly unique: bigint;
  readonly packId: number;
  readonly pid: number;
}

export type PassedRequest = PassedRead | PassedInterrupt | PassedQuestion;

export interface ServerOptions {
  readonly channel: number;
  readonly packs: SharedTable;
  /** Once set, the thread ends after the next request. */
  readonly stopFlag: CancelFlag;
}

const noPayload = new Uint8Array(0);

export class FuseServer {
  readonly #options: ServerOptions;
  readonly #pass: (request: PassedRequest) => void;
  readonly #packs: PackTable;
  readonly #views = new PackViews();
  readonly #replies: ReplyWriter;
  readonly #request = zeroed(requestBytesMax);
  readonly #view = new DataView(this.#request.buffer);

  constructor(options: ServerOptions, pass: (request: PassedRequest) => void) {
    this.#options = options;
    this.#pass = pass;
    this.#packs = new PackTable(options.packs);
    this.#replies = new ReplyWriter(options.channel);
  }

  /** Serves until it is stopped or the file system is gone. */
  run(): void {
    const { channel, stopFlag } = this.#options;
    while (!isCancelled(stopFlag)) {
      const lengthBytes = readRequest(channel, this.#request);
      if (lengthBytes === undefined) return;
      this.#serve(lengthBytes);
    }
  }

  #serve(lengthBytes: number): void {
    const head = decodeHead(this.#view, lengthBytes);
    if (head.opcode === opcode.read) this.#read(head);
    else if (head.opcode === opcode.interrupt) this.#interrupt(head);
    else if (!unansweredOpcodes.has(head.opcode)) this.#answer(head, lengthBytes);
  }

  #read({ unique, node, pid }: RequestHead): void {
    const packId = packOfNode(node);
    const { offsetBytes, sizeBytes } = decodeRead(this.#view);
    const isAnswered = this.#withPack(packId, (row) => {
      const lengthBytes = Math.max(0, Math.min(sizeBytes, row.sizeBytes - offsetBytes));
      if (lengthBytes > readBytesMax) this.#replies.fail(unique, errnoNumber.invalid);
      else if (!this.#views.holds(row, offsetBytes, lengthBytes, this.#packs.reads)) return false;
      else this.#replies.sendContent(unique, row.file, offsetBytes, lengthBytes);
      return true;
    });
    if (isAnswered === true) return;
    failpoint("pass.before");
    this.#pass({ kind: "read", unique, packId, offsetBytes, lengthBytes: sizeBytes, pid });
  }

  #interrupt({ unique }: RequestHead): void {
    this.#pass({ kind: "interrupt", unique, interrupted: decodeInterrupt(this.#view) });
  }

  /** Everything that is never waited for. */
  #answer(head: RequestHead, lengthBytes: number): void {
    const { opcode: asked, unique, node } = head;
    switch (asked) {
      case opcode.lookup: {
        const name = decodeName(this.#request, lengthBytes);
        this.#answerOfPack(head, opcode.lookup, packOfName(name) ?? 0);
        break;
      }
      case opcode.getAttributes:
        if (node === rootNode) this.#replies.send(unique, encodeAttributes(rootFacts));
        else this.#answerOfPack(head, opcode.getAttributes, packOfNode(node));
        break;
      case opcode.open:
        this.#answerOfPack(head, opcode.open, packOfNode(node));
        break;
      case opcode.openDirectory:
        this.#replies.send(unique, encodeOpenDirectory());
        break;
      case opcode.readDirectory: {
        const { offsetBytes, sizeBytes } = decodeRead(this.#view);
        const entries = entriesFrom(offsetBytes, this.#packs);
        this.#replies.send(unique, encodeDirectory(entries, Math.min(sizeBytes, readBytesMax)));
        break;
      }
      case opcode.statFs:
        this.#replies.send(unique, encodeStatFs([...this.#packs.ids()].length));
        break;
      case opcode.release:
      case opcode.releaseDirectory:
      case opcode.destroy:
        this.#replies.send(unique, noPayload);
        break;
      default:
        this.#replies.fail(unique, errnoNumber.noFunction);
    }
  }

  #answerOfPack({ unique, pid }: RequestHead, asked: PackOpcode, packId: number): void {
    const isExpected = this.#packs.isExpected(packId);
    const payload = this.#withPack(packId, (row) => answerOfPack(asked, row));
    if (payload !== undefined) this.#replies.send(unique, payload);
    else if (isExpected) this.#pass({ kind: "question", opcode: asked, unique, packId, pid });
    else this.#replies.fail(unique, errnoNumber.noEntry);
  }

  #withPack<T>(packId: number, use: (row: PackRow) => T): T | undefined {
    const row = this.#packs.enter(packId);
    if (row === undefined) return undefined;
    try {
      return use(row);
    } finally {
      this.#packs.leave(packId);
    }
  }
}
