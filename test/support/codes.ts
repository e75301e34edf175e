// SPDX-License-Identifier: Apache-2.0
/** How an act ends, in one word. Layer: test support. */
import assert from "node:assert/strict";
import { isCofferError } from "../../src/base/errors.ts";

/** The code of the CofferError that `act` ends with, or `done`; anything else thrown fails the test. */
export async function codeOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return "done";
  } catch (error) {
    assert.ok(isCofferError(error), String(error));
    return error.code;
  }
}
