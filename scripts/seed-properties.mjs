// SPDX-License-Identifier: Apache-2.0
/** Loaded before a test: what fast-check draws follows from COFFER_TEST_SEED. */
import { createHash } from "node:crypto";
import fc from "fast-check";

const seed = createHash("sha256")
  .update(process.env.COFFER_TEST_SEED ?? "")
  .digest()
  .readInt32LE();
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed });
