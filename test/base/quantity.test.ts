// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { counted, sizeText } from "../../src/base/quantity.ts";

test("sizes have the unit in which they have one to three digits before the point", () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [14_680_064, "14.7 MB"],
    [2 ** 31, "2.1 GB"],
    [5e15, "5000.0 TB"],
  ];
  for (const [bytes, text] of cases) assert.equal(sizeText(bytes), text);
});

test("one file, no files, two files", () => {
  assert.deepEqual([counted(1, "file"), counted(0, "file"), counted(2, "file")], ["1 file", "0 files", "2 files"]);
});
