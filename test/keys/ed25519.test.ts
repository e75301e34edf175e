// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import nacl from "tweetnacl";
import { publicFromSeed, verifyEd25519 } from "../../src/keys/ed25519.ts";
import { L, littleEndian } from "../../src/keys/ed25519-rules.ts";
import { publicKeyFromRaw } from "../../src/keys/public-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import { keyOf, utf8 } from "./stock.ts";

const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const alice = keyOf("alice");
const bob = keyOf("bob");

// RFC 8032 section 7.1, tests 1 to 3.
const RFC_8032 = [
  {
    seed: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    key: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    message: "",
    signature:
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  },
  {
    seed: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    key: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    message: "72",
    signature:
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  },
  {
    seed: "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    key: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    message: "af82",
    signature:
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
  },
];

test("ed25519: the examples of RFC 8032", () => {
  for (const example of RFC_8032) {
    assert.deepEqual(publicFromSeed(hex(example.seed)), hex(example.key));
    const key = publicKeyFromRaw(hex(example.key));
    assert.ok(verifyEd25519(key, hex(example.message), hex(example.signature)));
    assert.ok(!verifyEd25519(key, hex(`${example.message}00`), hex(example.signature)));
  }
});

test("ed25519: S + L is the same signature to tweetnacl, and none to us", async () => {
  const message = utf8("one signature, one encoding");
  const signature = await nodeSigner(alice).sign(message);
  const raised = (littleEndian(signature.subarray(32)) + L).toString(16).padStart(64, "0");
  const second = Buffer.concat([signature.subarray(0, 32), Buffer.from(raised, "hex").reverse()]);
  assert.ok(nacl.sign.detached.verify(message, second, alice.publicKey.raw));
  assert.ok(verifyEd25519(alice.publicKey, message, signature));
  assert.ok(!verifyEd25519(alice.publicKey, message, second));
});

test("ed25519: another key, another length, a flipped bit anywhere", async () => {
  const message = utf8("message");
  const signature = await nodeSigner(alice).sign(message);
  assert.ok(!verifyEd25519(bob.publicKey, message, signature));
  for (const bad of [new Uint8Array(), signature.subarray(1), Buffer.concat([signature, Buffer.alloc(1)])]) {
    assert.ok(!verifyEd25519(alice.publicKey, message, bad));
  }
  fc.assert(
    fc.property(fc.nat(511), (bit) => {
      const copy = Uint8Array.from(signature);
      copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.ok(!verifyEd25519(alice.publicKey, message, copy));
    }),
  );
});

test("ed25519: more keys than are cached change no answer", async () => {
  const message = utf8("message");
  const signature = await nodeSigner(alice).sign(message);
  for (let count = 0; count < 1100; count += 1) {
    const raw = Uint8Array.from(bob.publicKey.raw);
    new DataView(raw.buffer).setUint32(4, count);
    assert.ok(!verifyEd25519(publicKeyFromRaw(raw), message, signature));
  }
  assert.ok(verifyEd25519(alice.publicKey, message, signature));
  assert.ok(!verifyEd25519(bob.publicKey, message, signature));
});
