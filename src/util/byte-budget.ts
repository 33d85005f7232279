/**
 * So many bytes at a time, whoever wants them; the others wait in the order they came. Who wants
 * more than there are gets all of them.
 */
export class ByteBudget {
  readonly #bytesMax: number;
  readonly #waiting: { readonly bytes: number; readonly start: () => void }[] = [];
  #takenBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get takenBytes(): number {
    return this.#takenBytes;
  }

  /** Given back by disposing of it. */
  async take(wantedBytes: number): Promise<Disposable> {
    const bytes = Math.min(wantedBytes, this.#bytesMax);
    if (this.#waiting.length > 0 || !this.#hasRoom(bytes)) {
      await new Promise<void>((start) => this.#waiting.push({ bytes, start }));
    } else this.#takenBytes += bytes;
    return this.#grant(bytes);
  }

  /** The same at once, or not: undefined. */
  tryTake(bytes: number): Disposable | undefined {
    if (this.#waiting.length > 0 || !this.#hasRoom(bytes)) return undefined;
    this.#takenBytes += bytes;
    return this.#grant(bytes);
  }

  #hasRoom(bytes: number): boolean {
    return this.#takenBytes + bytes <= this.#bytesMax;
  }

  #grant(bytes: number): Disposable {
    let left = bytes;
    const giveBack = (): void => {
      this.#takenBytes -= left;
      left = 0;
      this.#startNext();
    };
    return { [Symbol.dispose]: giveBack };
  }

  #startNext(): void {
    for (let next = this.#waiting[0]; next && this.#hasRoom(next.bytes); next = this.#waiting[0]) {
      this.#takenBytes += next.bytes;
      this.#waiting.shift();
      next.start();
    }
  }
}
