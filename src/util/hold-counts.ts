/** Which numbers somebody counts on at the moment, each perhaps more than once. */
export class HoldCounts {
  readonly #counts = new Map<number, number>();

  /** Held until the result is disposed of. */
  hold(id: number): Disposable {
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        const count = (this.#counts.get(id) ?? 0) - 1;
        if (count > 0) this.#counts.set(id, count);
        else this.#counts.delete(id);
      },
    };
  }

  isHeld(id: number): boolean {
    return this.#counts.has(id);
  }
}
