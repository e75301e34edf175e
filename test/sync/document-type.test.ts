// SPDX-License-Identifier: Apache-2.0
/** What the type of a document is read from. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeCanonical } from "../../src/base/canonical-json.ts";
import { typeOf } from "../../src/sync/document-type.ts";

test("the type of a document is read from documents alone", () => {
  assert.equal(typeOf(encodeCanonical({ type: "coffer/list", version: 1 })), "coffer/list");
  for (const value of [{}, { version: 1 }, { type: 1 }, ["coffer/list"]])
    assert.equal(typeOf(encodeCanonical(value)), undefined, JSON.stringify(value));
  for (const text of ["", "{", '{"type": "coffer/list"}', "gguf"])
    assert.equal(typeOf(new TextEncoder().encode(text)), undefined, text);
});
