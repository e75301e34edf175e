// SPDX-License-Identifier: Apache-2.0
/** Volumes that a bundle does not have. How they are cut: plan.test.ts and volumes.test.ts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { itemsOfVolume } from "../../src/sync/cut.ts";

test("a volume that a bundle does not have cannot be asked for", () => {
  const bundle = { items: [], volumes: [] } as unknown as Parameters<typeof itemsOfVolume>[0];
  for (const number of [-1, 0, 1, 1.5]) {
    assert.throws(
      () => itemsOfVolume(bundle, number),
      (error) => isCofferError(error, "USAGE"),
    );
  }
});
