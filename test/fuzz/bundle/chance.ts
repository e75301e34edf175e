// SPDX-License-Identifier: Apache-2.0
/** Choices that follow from one seed. Layer: test support. */
import { createHash } from "node:crypto";
import { randomSource } from "../../../scripts/fixtures/random.mjs";
import { type Json, type Loose, takeApart } from "./loose.ts";
import type { FuzzWorld } from "./world.ts";

const TEXTS = [
  "",
  "trusted",
  "revoked",
  "deleted",
  "several",
  "quarantined",
  "none",
  "missing",
  "all",
  "../../etc/passwd",
];
const NAMES = [
  "acme/one@v1",
  "acme/two@v1",
  "acme/gone@v1",
  "acme/open@v1",
  "acme/none@v1",
  "refs/trusted/acme/two@v1",
];
const VALUES: readonly Json[] = [
  null,
  true,
  0,
  -1,
  1,
  2,
  2 ** 31,
  2 ** 53 - 1,
  2 ** 53,
  1e300,
  [],
  {},
  "x".repeat(5000),
];

export class Chance {
  readonly world: FuzzWorld;
  readonly #next: () => number;

  constructor(world: FuzzWorld, seed: string) {
    this.world = world;
    this.#next = randomSource(createHash("sha256").update(seed).digest().readUInt32LE());
  }

  below(count: number): number {
    return Math.floor(this.#next() * count);
  }

  /** More often near the beginning, where headers and the index are. */
  near(count: number): number {
    const at = this.#next();
    return Math.floor((this.#next() < 0.5 ? at * at * at : at) * count);
  }

  of<T>(choices: readonly T[]): T {
    const chosen = choices[this.below(choices.length)];
    if (chosen === undefined) throw new RangeError("nothing to choose from");
    return chosen;
  }

  /** The id of something that is known, or of nothing. */
  digest(): string {
    if (this.below(4) === 0)
      return this.below(2 ** 32)
        .toString(16)
        .padStart(64, "0");
    const paths = this.donor()
      .volumes.flat()
      .map(({ path }) => path.split("/").slice(1, 3).join(""));
    return this.below(2) === 0 || paths.length === 0 ? this.of([...this.world.statements]) : this.of(paths);
  }

  text(like: string): string {
    const what = this.below(5);
    if (what === 0) return this.of(TEXTS);
    if (what === 1) return this.of(NAMES);
    if (what === 2) return like + like;
    const at = this.below(like.length + 1);
    return what === 3
      ? like.slice(0, at)
      : `${like.slice(0, at)}${String.fromCharCode(this.below(300))}${like.slice(at + 1)}`;
  }

  value(): Json {
    return this.below(3) === 0 ? this.digest() : structuredClone(this.of(VALUES));
  }

  /** One of the bundles that everything is made from. */
  donor(): Loose {
    const loose = takeApart(this.of(this.world.seeds.filter(({ large }) => !large)).volumes);
    if (loose === undefined) throw new TypeError("a seed cannot be read");
    return loose;
  }
}
