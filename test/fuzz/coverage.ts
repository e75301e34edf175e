// SPDX-License-Identifier: Apache-2.0
/** Which code has run, by V8's own counters: what is new is worth keeping. Layer: test support. */
import { writeFileSync } from "node:fs";
import type { Profiler } from "node:inspector";
import { Session } from "node:inspector/promises";
import { join } from "node:path";

type ScriptCoverage = Profiler.ScriptCoverage;

export class Coverage {
  readonly #session = new Session();
  readonly #about: (url: string) => boolean;
  /** Bytes of each script that have run. */
  #seen = new Map<string, Uint8Array>();
  /** The same before the last take. */
  #before = new Map<string, Uint8Array>();
  /** Every take that had something new, for the report. */
  readonly #kept: ScriptCoverage[][] = [];

  /** @param about - scripts that count, by their URL */
  constructor(about: (url: string) => boolean) {
    this.#about = about;
  }

  async start(): Promise<void> {
    this.#session.connect();
    await this.#session.post("Profiler.enable");
    await this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** @returns how many characters of source have run since the last take for the first time */
  async take(): Promise<number> {
    const { result } = await this.#session.post("Profiler.takePreciseCoverage");
    this.#before = new Map([...this.#seen].map(([url, ran]) => [url, ran.slice()]));
    const scripts = result.filter(({ url }) => this.#about(url));
    const fresh = scripts.reduce((sum, script) => sum + this.#merge(script), 0);
    if (fresh > 0) this.#kept.push(scripts);
    return fresh;
  }

  /** What the last take counted is asked once more, input by input. */
  forgetLast(): void {
    this.#seen = this.#before;
    this.#kept.pop();
  }

  #merge({ url, functions }: ScriptCoverage): number {
    let length = 0;
    for (const { ranges } of functions) for (const { endOffset } of ranges) length = Math.max(length, endOffset);
    const ran = new Uint8Array(length);
    for (const { ranges } of functions)
      for (const { startOffset, endOffset, count } of ranges) ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
    const seen = this.#seen.get(url) ?? new Uint8Array(length);
    this.#seen.set(url, seen);
    let fresh = 0;
    ran.forEach((one, at) => {
      if (one === 1 && seen[at] === 0) {
        seen[at] = 1;
        fresh += 1;
      }
    });
    return fresh;
  }

  /** In the form that c8 reads. */
  write(folder: string): void {
    this.#kept.forEach(
      (result, at) => void writeFileSync(join(folder, `coverage-fuzz-${at}.json`), JSON.stringify({ result })),
    );
  }
}
