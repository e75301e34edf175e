// SPDX-License-Identifier: Apache-2.0
/** The bound of the cache holds, and a shared question is never answered with what was looked up before it. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { LeastRecent, Probe } from "../../src/repo/serving-cache.ts";

suite("serving cache", () => {
  test("the least recently used goes first", () => {
    const cache = new LeastRecent<number>(2);
    cache.set("a", 1);
    cache.set("b", 2);
    assert.equal(cache.get("a"), 1);
    cache.set("c", 3);
    assert.equal(cache.get("b"), undefined);
    assert.equal(cache.get("a"), 1);
    assert.equal(cache.get("c"), 3);
  });

  test("weights never pass the bound, but for one value that alone is heavier", () => {
    const steps = fc.array(fc.tuple(fc.constantFrom("a", "b", "c", "d", "e"), fc.integer({ min: 1, max: 15 })));
    fc.assert(
      fc.property(steps, (sets) => {
        const cache = new LeastRecent<number>(10, (weight) => weight);
        for (const [key, weight] of sets) {
          cache.set(key, weight);
          assert.equal(cache.get(key), weight);
          const kept = ["a", "b", "c", "d", "e"].map((each) => cache.get(each)).filter((each) => each !== undefined);
          assert.ok(kept.length === 1 || kept.reduce((sum, each) => sum + each, 0) <= 10);
        }
      }),
    );
  });
});

/** A look that ends when told, and counts how many run at once. */
function controlled() {
  const looks: { resolve: (value: number) => void; reject: (error: Error) => void }[] = [];
  const look = (): Promise<number> => new Promise((resolve, reject) => looks.push({ resolve, reject }));
  return { looks, probe: new Probe(look) };
}

suite("serving probe", () => {
  test("whoever asks while one runs shares the next one, and only one runs at a time", async () => {
    const { looks, probe } = controlled();
    const first = probe.ask();
    const later = [probe.ask(), probe.ask()];
    assert.equal(looks.length, 1);
    looks[0]?.resolve(1);
    assert.equal(await first, 1);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(looks.length, 2);
    const last = probe.ask();
    looks[1]?.resolve(2);
    assert.deepEqual(await Promise.all(later), [2, 2], "not the one that ran when they asked");
    await new Promise((resolve) => setImmediate(resolve));
    looks[2]?.resolve(3);
    assert.equal(await last, 3);
    assert.equal(looks.length, 3);
  });

  test("a failure is told to those who asked for it, and the next look is a new one", async () => {
    const { looks, probe } = controlled();
    const first = probe.ask();
    const second = probe.ask();
    looks[0]?.reject(new Error("gone"));
    await assert.rejects(first, /gone/);
    await new Promise((resolve) => setImmediate(resolve));
    looks[1]?.resolve(2);
    assert.equal(await second, 2);
  });
});
