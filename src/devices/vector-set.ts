/**
 * A set of interrupt vectors: the form of the local APIC's ISR, TMR and IRR (SDM vol.3 11.8.4), which are
 * eight 32-bit registers each.
 */
const WORDS = 8;

/** Vectors 0-255 as 256 bits. */
export class VectorSet {
  readonly #words = new Int32Array(WORDS);
  /** The highest vector in the set, -1 when it is empty. */
  highest = -1;

  has(vector: number): boolean {
    return ((this.#words[vector >> 5]! >>> (vector & 31)) & 1) !== 0;
  }

  add(vector: number): void {
    this.#words[vector >> 5]! |= 1 << (vector & 31);
    if (vector > this.highest) this.highest = vector;
  }

  delete(vector: number): void {
    this.#words[vector >> 5]! &= ~(1 << (vector & 31));
    if (vector === this.highest) this.#findHighest(vector >> 5);
  }

  clear(): void {
    this.#words.fill(0);
    this.highest = -1;
  }

  /** Register `index` (0 to 7) of the set, unsigned. */
  word(index: number): number {
    return this.#words[index]! >>> 0;
  }

  words(): number[] {
    return Array.from(this.#words, (word) => word >>> 0);
  }

  load(words: readonly number[]): void {
    this.#words.set(words);
    this.#findHighest(WORDS - 1);
  }

  #findHighest(fromWord: number): void {
    for (let i = fromWord; i >= 0; i--) {
      const word = this.#words[i]!;
      if (word !== 0) {
        this.highest = i * 32 + 31 - Math.clz32(word);
        return;
      }
    }
    this.highest = -1;
  }
}
