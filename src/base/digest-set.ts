// SPDX-License-Identifier: Apache-2.0
/**
 * A set of digests in 16 bytes a place, where a Set of strings takes over 100: millions fit into memory. Layer: base.
 * Keeps the first 128 bits: two digests that agree in these are taken for one, which nobody can bring about.
 */
import type { Digest } from "./digest.ts";

const WORDS = 4;
const FIRST_PLACES = 1024;
/** Of the places, before the table doubles. */
const MOST_FILLED = 0.6;

export class DigestSet {
  #table = new Uint32Array(FIRST_PLACES * WORDS);
  #places = FIRST_PLACES;
  #size = 0;
  /** An empty place is all zeros, so the digest that begins like one is kept apart. */
  #hasZero = false;

  get size(): number {
    return this.#size + (this.#hasZero ? 1 : 0);
  }

  has(id: Digest): boolean {
    const words = wordsOf(id);
    return isZero(words, 0) ? this.#hasZero : !isZero(this.#table, this.#find(words));
  }

  /** @returns false if it was there */
  add(id: Digest): boolean {
    const words = wordsOf(id);
    if (isZero(words, 0)) {
      const fresh = !this.#hasZero;
      this.#hasZero = true;
      return fresh;
    }
    const at = this.#find(words);
    if (!isZero(this.#table, at)) return false;
    this.#table.set(words, at);
    this.#size += 1;
    if (this.#size > this.#places * MOST_FILLED) this.#grow();
    return true;
  }

  /** Where it lies, or the empty place where it belongs: from its first bits onwards. */
  #find(words: Uint32Array): number {
    const table = this.#table;
    for (let place = (words[0] ?? 0) % this.#places; ; place = (place + 1) % this.#places) {
      const at = place * WORDS;
      if (isZero(table, at)) return at;
      if (table[at] === words[0] && table[at + 1] === words[1] && table[at + 2] === words[2]) {
        if (table[at + 3] === words[3]) return at;
      }
    }
  }

  #grow(): void {
    const old = this.#table;
    this.#places *= 2;
    this.#table = new Uint32Array(this.#places * WORDS);
    for (let at = 0; at < old.length; at += WORDS) {
      const words = old.subarray(at, at + WORDS);
      if (!isZero(words, 0)) this.#table.set(words, this.#find(words));
    }
  }
}

function wordsOf(id: Digest): Uint32Array {
  const words = new Uint32Array(WORDS);
  for (let at = 0; at < WORDS; at += 1) words[at] = Number.parseInt(id.slice(at * 8, at * 8 + 8), 16);
  return words;
}

function isZero(words: Uint32Array, at: number): boolean {
  return words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0 && words[at + 3] === 0;
}
