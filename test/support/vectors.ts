// SPDX-License-Identifier: Apache-2.0
/**
 * Loads test/vectors/<name>.json: cases that another implementation can replay, under a top "about" text.
 * Not here: what a case means; each test file types its own.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

/**
 * The cases under `section` of one vector file.
 *
 * @throws AssertionError - no such section, an empty one, or no "about" text: a test over nothing would pass
 */
export function loadVectors<T>(name: string, section = "cases"): readonly T[] {
  const file = new URL(`../vectors/${name}.json`, import.meta.url);
  const vectors = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
  assert.equal(typeof vectors["about"], "string", `${name}.json: expected an "about" text`);
  const cases = vectors[section];
  assert.ok(Array.isArray(cases) && cases.length > 0, `${name}.json: expected cases under "${section}"`);
  return cases as readonly T[];
}
