// SPDX-License-Identifier: Apache-2.0
/** A medium of more names than anybody needs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { openBundles } from "../../src/sync/volumes.ts";
import { MemoryFiles } from "../support/memory-files.ts";

test("a folder with more names than anybody needs is refused before they are looked at", async () => {
  const files = new MemoryFiles();
  for (let at = 0; at < LIMITS.mediumNames; at += 1) files.plant(`${at}.jpg`, new Uint8Array());
  const place = { files, path: ".", what: "stick" };
  await assert.rejects(openBundles([place]), (error) => isCofferError(error, "FILE_NOT_FOUND"));
  files.plant("one more.jpg", new Uint8Array());
  const before = files.calls;
  const text = `stick: expected at most ${LIMITS.mediumNames} names in one folder, found more`;
  await assert.rejects(openBundles([place]), (error) => {
    assert.ok(isCofferError(error, "LIMIT_EXCEEDED"), String(error));
    assert.equal(error.message, `${text}: take one folder at a time, or name the volumes of one bundle`);
    return true;
  });
  assert.ok(files.calls - before <= 2, `${files.calls - before} calls`);
});
