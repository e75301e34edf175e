// SPDX-License-Identifier: Apache-2.0
/** What is told of small things that came damaged (src/repo/import/arrivals.ts). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Arrivals } from "../../src/repo/import/arrivals.ts";
import { SmallFiles } from "../../src/repo/import/small-files.ts";
import { bytesOf, publicKey } from "../support/hostile-bundles.ts";
import { digestFor } from "../support/trust-fixtures.ts";

const junk = bytesOf("no signature\n");
const read = async function* (): AsyncGenerator<Uint8Array> {
  yield junk;
};

test("damaged signatures are told once each, a hundred one by one, and how many more there are", async () => {
  const arrivals = new Arrivals(new SmallFiles(() => assert.fail("all fit in memory")));
  arrivals.know([publicKey]);
  const whatAfter = async (count: number): Promise<readonly string[]> => {
    for (let number = 0; number < count; number += 1) {
      const id = digestFor(`evidence ${number}`);
      const item = { kind: "signature", object: id, keyId: publicKey.keyId, sizeBytes: junk.length } as const;
      await arrivals.take({ item, read });
      assert.deepEqual(await arrivals.signatures("coffer/evidence", { id, bytes: junk }), []);
    }
    assert.ok(arrivals.refused.every(({ code }) => code === "VOLUME_DAMAGED"));
    return arrivals.refused.map(({ what }) => what);
  };
  const hundred = await whatAfter(100);
  assert.equal(new Set(hundred).size, 100);
  assert.deepEqual(await whatAfter(100), hundred, "the same again");
  assert.deepEqual(await whatAfter(101), [...hundred, "1 more signature"]);
  assert.deepEqual(await whatAfter(120), [...hundred, "20 more signatures"]);
  arrivals.refuse({ what: "a name", code: "NOT_TRUSTED", text: "something else" });
  assert.equal(arrivals.refused.length, 102);
});
