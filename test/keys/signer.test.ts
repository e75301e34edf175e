// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { verifyEd25519 } from "../../src/keys/ed25519.ts";
import { generatePrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner, tweetnaclSigner } from "../../src/keys/signer.ts";

test("signer: tweetnacl and node:crypto give the same bytes for any key and message, and they verify", async () => {
  const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });
  await fc.assert(
    fc.asyncProperty(seeds, fc.uint8Array({ maxLength: 300 }), async (seed, message) => {
      const key = generatePrivateKey(() => seed, "");
      const slow = await tweetnaclSigner(key).sign(message);
      const fast = await nodeSigner(key).sign(message);
      assert.deepEqual(slow, fast);
      assert.equal(Object.getPrototypeOf(fast), Uint8Array.prototype);
      assert.ok(verifyEd25519(key.publicKey, message, fast));
    }),
    { numRuns: 40 },
  );
});

test("signer: both name the key that they sign with", () => {
  const key = generatePrivateKey((length) => new Uint8Array(length).fill(9), "");
  assert.equal(tweetnaclSigner(key).publicKey, key.publicKey);
  assert.equal(nodeSigner(key).publicKey, key.publicKey);
});
