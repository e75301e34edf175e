// SPDX-License-Identifier: Apache-2.0
/** Two small helpers of serving.ts: a cache with a bound, and a question that many may share. Layer: repo. */

/** Values by key, the least recently used dropped first once their weights are over the bound. */
export class LeastRecent<T> {
  private readonly bound: number;
  private readonly weigh: (value: T) => number;
  private readonly values = new Map<string, T>();
  private weight = 0;

  /** @param bound - sum of weights that is kept; the newest value is kept whatever it weighs */
  constructor(bound: number, weigh: (value: T) => number = () => 1) {
    this.bound = bound;
    this.weigh = weigh;
  }

  get(key: string): T | undefined {
    const value = this.values.get(key);
    if (value === undefined) return undefined;
    this.values.delete(key);
    this.values.set(key, value);
    return value;
  }

  set(key: string, value: T): void {
    this.drop(key);
    this.values.set(key, value);
    this.weight += this.weigh(value);
    for (const oldest of this.values.keys()) {
      if (this.weight <= this.bound || oldest === key) return;
      this.drop(oldest);
    }
  }

  private drop(key: string): void {
    const value = this.values.get(key);
    if (value === undefined) return;
    this.weight -= this.weigh(value);
    this.values.delete(key);
  }
}

/**
 * A question to the disk that many ask at once. One runs at a time; whoever asks while one runs shares the next, so
 * every answer was looked for after it was asked for.
 */
export class Probe<T> {
  private readonly look: () => Promise<T>;
  private running: Promise<T> | undefined;
  private next: Promise<T> | undefined;

  constructor(look: () => Promise<T>) {
    this.look = look;
  }

  ask(): Promise<T> {
    if (this.next !== undefined) return this.next;
    if (this.running === undefined) return this.start();
    this.next = this.after(this.running);
    return this.next;
  }

  /** Resolves once nothing runs that was asked for so far. */
  async settled(): Promise<void> {
    await Promise.allSettled([this.running, this.next]);
  }

  private async after(running: Promise<T>): Promise<T> {
    await Promise.allSettled([running]);
    this.next = undefined;
    return this.start();
  }

  private start(): Promise<T> {
    const running = this.look().finally(() => {
      if (this.running === running) this.running = undefined;
    });
    this.running = running;
    return running;
  }
}
