// SPDX-License-Identifier: Apache-2.0
/** The bench runner's arithmetic and its refusals: what it says holds must hold, and a missing program is no blank row. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { interleave, MissingPeer, median, needPeer, passes, ratioOf } from "../../bench/support/harness.ts";
import { renderText } from "../../bench/support/report.ts";

const samples = new Map([
  ["a", [10, 40, 30]],
  ["b", [10, 10, 10]],
]);

describe("bench: ratios", () => {
  test("are taken inside a round, and their median counts", () => {
    const { ratio, ofMs, toMs, rounds } = ratioOf(samples, "a", "b");
    assert.deepEqual([ratio, ofMs, toMs, rounds], [3, 30, 10, 3]);
  });

  test("the median of an even number is one of them, the lower", () => assert.equal(median([4, 1, 3, 2]), 2));

  test("a contender without samples is an error", () => {
    assert.throws(() => ratioOf(samples, "a", "c"), /no samples/);
    assert.throws(() => ratioOf(samples, "c", "a"), /no samples/);
    assert.throws(() => ratioOf(new Map([...samples, ["d", [1]]]), "a", "d"), /no samples/);
  });

  for (const [gate, holds] of [
    [{}, true],
    [{ atMost: 3 }, true],
    [{ atMost: 2.9 }, false],
    [{ atLeast: 3 }, true],
    [{ atLeast: 3.1 }, false],
  ] as const) {
    test(`a ratio of 3 with the gate ${JSON.stringify(gate)}: ${holds ? "holds" : "fails"}`, () => {
      const row = ratioOf(samples, "a", "b", gate);
      assert.equal(passes(row), holds);
      assert.equal(renderText({ ratios: [row] }).includes("FAILS"), !holds);
    });
  }

  test("a count over its gate fails", () => {
    const counts = [{ what: "fsyncs", count: 17, atMost: 16 }];
    assert.match(renderText({ ratios: [], counts }), /fsyncs +17 +<= 16 +FAILS/);
  });
});

describe("bench: rounds", () => {
  test("each contender once in each, in turns; the first round is not counted; one may time several things", async () => {
    const order: string[] = [];
    const contender = (name: string) => async (round: number) => {
      order.push(`${name}${round}`);
      return round;
    };
    const both = async (round: number) => ({ ours: round * 2, bare: round });
    const found = await interleave({ a: contender("a"), b: contender("b"), both }, 2);
    assert.deepEqual(order, ["a0", "b0", "b1", "a1", "a2", "b2"]);
    assert.deepEqual(Object.fromEntries(found), { a: [1, 2], b: [1, 2], ours: [2, 4], bare: [1, 2] });
  });
});

describe("bench: programs to compare with", () => {
  test("one that is there tells its version", () => assert.match(needPeer("git", "git"), /^git version/));
  test("one that is not there is an error with the package to install", () => {
    assert.throws(
      () => needPeer("coffer-no-such-program", "some-package"),
      (error) => error instanceof MissingPeer && error.message.includes("install the Debian package some-package"),
    );
  });
  test("one that does not run is an error too", () => {
    assert.throws(() => needPeer("false", "coreutils"), MissingPeer);
  });
});
