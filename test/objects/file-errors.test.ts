// SPDX-License-Identifier: Apache-2.0
/** What people read when the disk fails. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileError } from "../../src/objects/file-errors.ts";

const full = Object.assign(new Error("full"), { code: "ENOSPC" });

test("what an import keeps is told by what it is, any other file by its path", () => {
  const staged = `local/tmp/import-${"ab".repeat(32)}`;
  for (const path of [staged, `${staged}/a-1-2-${"cd".repeat(16)}.${"ef".repeat(32)}.00000`]) {
    const { code, message } = fileError(full, "write", path);
    assert.equal(
      `${message} [${code}]`,
      "cannot write what this import keeps in local/tmp until it is done: ENOSPC [NO_SPACE]",
    );
  }
  assert.equal(fileError(full, "write", "local/tmp/a-1-2").message, "cannot write local/tmp/a-1-2: ENOSPC");
});
