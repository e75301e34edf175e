// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LIMITS } from "../../src/base/limits.ts";
import { encodeBase64 } from "../../src/keys/armor.ts";
import { keyWeakness, SMALL_ORDER_KEYS } from "../../src/keys/ed25519-rules.ts";
import {
  fingerprint,
  keyIdOf,
  parseKeyId,
  parsePublicKey,
  parsePublicKeyBlob,
  publicKeyBlob,
  publicKeyFromRaw,
} from "../../src/keys/public-key.ts";
import { concatBytes, wireString } from "../../src/keys/ssh-wire.ts";
import { keyOf, read, skipWithoutStock, sshKeygen, utf8, withFolder } from "./stock.ts";

const { publicKey } = keyOf("alice");
const { text } = publicKey;
const base64 = text.split(" ")[1] ?? "";
const blobText = (type: string, point: Uint8Array) =>
  `${type} ${encodeBase64(concatBytes(wireString(type), wireString(point)))}`;

test("public-key: any 32 bytes that are not weak come back from their text", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (raw) => {
      fc.pre(keyWeakness(raw) === undefined);
      const key = publicKeyFromRaw(raw);
      assert.deepEqual(parsePublicKey(key.text), key);
      assert.deepEqual(parsePublicKeyBlob(publicKeyBlob(raw)), key);
      assert.equal(key.keyId, keyIdOf(raw));
      assert.equal(parseKeyId(key.keyId), key.keyId);
    }),
  );
});

test("public-key: the key does not follow when the caller's bytes change", () => {
  const raw = Uint8Array.from(publicKey.raw);
  const key = publicKeyFromRaw(raw);
  raw.fill(7);
  assert.deepEqual(key, publicKey);
});

test("public-key: comments and blanks", () => {
  assert.deepEqual(parsePublicKey(`${text}\n`), publicKey);
  assert.deepEqual(parsePublicKey(`${text} \r\n`), publicKey);
  assert.equal(parsePublicKey(`${text} alice@host\n`).comment, "alice@host");
  assert.equal(parsePublicKey(`ssh-ed25519 \t ${base64}  two  words é `).comment, "two  words é");
  assert.equal("comment" in parsePublicKey(text), false);
});

test("public-key: what is refused as KEY_INVALID, and in which words", () => {
  const point = publicKey.raw;
  const refused: [string, RegExp][] = [
    ["", /expected ssh-ed25519, found no known key type/],
    [` ${text}`, /found no known key type/],
    ["c2VjcmV0IHNlY3JldA==", /found no known key type$/],
    [blobText("ssh-rsa", point), /expected ssh-ed25519, found ssh-rsa/],
    [blobText("ecdsa-sha2-nistp256", point), /found ecdsa-sha2-nistp256/],
    [blobText("sk-ecdsa-sha2-nistp256@openssh.com", point), /found sk-ecdsa-sha2-nistp256@openssh.com/],
    [blobText("ssh-ed25519-cert-v01@openssh.com", point), /found ssh-ed25519-cert-v01@openssh.com/],
    [`SSH-ED25519 ${base64}`, /found no known key type/],
    ["ssh-ed25519", /canonical base64|cut short/],
    [`ssh-ed25519 ${base64.slice(0, -1)}`, /canonical base64|cut short/],
    [`ssh-ed25519 ${base64}=`, /canonical base64/],
    [`ssh-ed25519 ${base64.slice(0, 20)} ${base64.slice(20)}`, /cut short/],
    [`${text}\n${text}`, /canonical base64/],
    [`${text} a\n${text} b`, /one line without control characters/],
    [`${text} bell\u0007`, /control characters/],
    [`${text} \u202egnihton`, /control characters/],
    [`ssh-ed25519 ${blobText("ssh-rsa", point).split(" ")[1]}`, /found ssh-rsa/],
    [blobText("ssh-ed25519", point.subarray(1)), /expected 32 bytes, found 31/],
    [`ssh-ed25519 ${encodeBase64(concatBytes(publicKeyBlob(point), utf8("x")))}`, /1 trailing bytes/],
    ["-----BEGIN OPENSSH PRIVATE KEY-----\n", /found an armored file \(a private key\?\)/],
  ];
  for (const [line, message] of refused) {
    assert.throws(() => parsePublicKey(line), { name: "CofferError", code: "KEY_INVALID", message }, line);
  }
  assert.throws(() => publicKeyFromRaw(point.subarray(1)), { code: "KEY_INVALID", message: /found 31/ });
  for (const id of ["", publicKey.keyId.toUpperCase(), publicKey.keyId.slice(1), `${publicKey.keyId}\n`]) {
    assert.throws(() => parseKeyId(id), { code: "KEY_INVALID" });
  }
});

test("public-key: security keys are UNSUPPORTED, each variant", () => {
  for (const type of [
    "sk-ssh-ed25519@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "webauthn-sk-ssh-ed25519@openssh.com",
  ]) {
    const message = /security key type/;
    assert.throws(() => parsePublicKey(blobText(type, publicKey.raw)), { code: "UNSUPPORTED", message });
    assert.throws(() => parsePublicKey(`ssh-ed25519 ${blobText(type, publicKey.raw).split(" ")[1]}`), {
      code: "UNSUPPORTED",
    });
  }
});

test("public-key: the 14 small-order encodings and unreduced ones are KEY_WEAK", () => {
  for (const hex of [...SMALL_ORDER_KEYS, `f0${"ff".repeat(30)}7f`, "ff".repeat(32)]) {
    const raw = new Uint8Array(Buffer.from(hex, "hex"));
    assert.throws(() => publicKeyFromRaw(raw), { code: "KEY_WEAK" }, hex);
    assert.throws(() => parsePublicKey(blobText("ssh-ed25519", raw)), { code: "KEY_WEAK" }, hex);
  }
});

test("public-key: a huge line is refused before it is looked at", () => {
  const line = `${text} ${"x".repeat(LIMITS.keyFileBytes)}`;
  assert.throws(() => parsePublicKey(line), { code: "LIMIT_EXCEEDED", message: /at most 16384 characters/ });
});

test("public-key: no text in an error is a piece of what was read", () => {
  const secret = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
  for (const line of [secret, `ssh-${secret}`, `ssh-ed25519 ${secret}`, `${secret} ${base64}`]) {
    assert.throws(
      () => parsePublicKey(line),
      (error: Error) => !error.message.includes(secret),
      line,
    );
  }
});

test("public-key: ssh-keygen reads our text, and shows our fingerprint", { skip: skipWithoutStock }, () => {
  const { stdout, status } = sshKeygen(["-l", "-f", "-"], utf8(`${text} alice\n`));
  assert.equal(status, 0);
  assert.equal(stdout, `256 ${fingerprint(publicKey)} alice (ED25519)\n`);
  const hex = Buffer.from(fingerprint(publicKey).slice(7), "base64").toString("hex");
  assert.equal(hex, publicKey.keyId);
});

test("public-key: .pub files of ssh-keygen, Ed25519 and others", { skip: skipWithoutStock }, () => {
  withFolder((folder) => {
    for (const type of ["ed25519", "ecdsa", "rsa"]) {
      assert.equal(
        sshKeygen([
          "-q",
          "-t",
          type,
          "-b",
          type === "ecdsa" ? "256" : "1024",
          "-N",
          "",
          "-C",
          "a comment",
          "-f",
          `${folder}/${type}`,
        ]).status,
        0,
      );
    }
    assert.equal(parsePublicKey(read(`${folder}/ed25519.pub`)).comment, "a comment");
    const message = /found ecdsa-sha2-nistp256/;
    assert.throws(() => parsePublicKey(read(`${folder}/ecdsa.pub`)), { code: "KEY_INVALID", message });
    assert.throws(() => parsePublicKey(read(`${folder}/rsa.pub`)), { code: "KEY_INVALID", message: /found ssh-rsa/ });
  });
});
