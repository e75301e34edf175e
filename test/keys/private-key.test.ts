// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LIMITS } from "../../src/base/limits.ts";
import { decodeArmor, encodeArmor } from "../../src/keys/armor.ts";
import { encodePrivateKey, generatePrivateKey, isEncrypted, parsePrivateKey } from "../../src/keys/private-key.ts";
import { openSealed, seal } from "../../src/keys/private-key-cipher.ts";
import { type PublicKey, publicKeyBlob } from "../../src/keys/public-key.ts";
import { concatBytes, wireString, wireU32 } from "../../src/keys/ssh-wire.ts";
import { keyOf, seeded, utf8 } from "./stock.ts";

const alice = keyOf("alice");
const bob = keyOf("bob");
const pass = utf8("correct horse");
const noRandom = (length: number): Uint8Array => new Uint8Array(length);

/** The parts of a key file, each of which a test may replace. */
interface Parts {
  magic: string;
  cipher: string;
  kdf: string;
  kdfOptions: Uint8Array;
  keys: number;
  outerKey: Uint8Array;
  checks: readonly [number, number];
  type: string;
  innerPublic: Uint8Array;
  secret: Uint8Array;
  comment: Uint8Array;
  padding: Uint8Array;
  /** Stands for the whole private part. */
  privatePart?: Uint8Array;
  rest: Uint8Array;
}

const { raw } = alice.publicKey;
// 4 + 4 + 15 + 36 + 68 + 4 + 5 bytes and 8 of padding: a whole block more than needed, as some writers do.
const honest: Parts = {
  magic: "openssh-key-v1\0",
  cipher: "none",
  kdf: "none",
  kdfOptions: new Uint8Array(),
  keys: 1,
  outerKey: publicKeyBlob(raw),
  checks: [7, 7],
  type: "ssh-ed25519",
  innerPublic: raw,
  secret: concatBytes(alice.seed, raw),
  comment: utf8("alice"),
  padding: Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]),
  rest: new Uint8Array(),
};

function privatePartOf(p: Parts): Uint8Array {
  const checks = concatBytes(wireU32(p.checks[0]), wireU32(p.checks[1]));
  const key = concatBytes(wireString(p.type), wireString(p.innerPublic), wireString(p.secret), wireString(p.comment));
  return concatBytes(checks, key, p.padding);
}

function fileOf(change: Partial<Parts>): string {
  const p = { ...honest, ...change };
  const head = [utf8(p.magic), wireString(p.cipher), wireString(p.kdf), wireString(p.kdfOptions), wireU32(p.keys)];
  const privatePart = p.privatePart ?? privatePartOf(p);
  return encodeArmor(
    "OPENSSH PRIVATE KEY",
    concatBytes(...head, wireString(p.outerKey), wireString(privatePart), p.rest),
  );
}

const bcrypt = (salt: Uint8Array, rounds: number, more = "") => ({
  cipher: "aes256-ctr",
  kdf: "bcrypt",
  kdfOptions: concatBytes(wireString(salt), wireU32(rounds), utf8(more)),
  privatePart: new Uint8Array(144),
});

test("private-key: without a passphrase, any seed and comment come back", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.string({ maxLength: 40 }), (seed, text) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a comment must not hold
      const comment = text.replace(/[\x00-\x1f\x7f]/g, "");
      const key = generatePrivateKey(() => seed, comment);
      const file = encodePrivateKey(key, seeded("check"));
      assert.equal(isEncrypted(file), false);
      assert.deepEqual(parsePrivateKey(file), key);
      assert.deepEqual(parsePrivateKey(file, pass), key, "a passphrase that is not needed is not looked at");
    }),
    { numRuns: 40 },
  );
});

test("private-key: with a passphrase; needed, wrong, empty", () => {
  const file = encodePrivateKey(alice, seeded("salt"), pass, 1);
  assert.equal(isEncrypted(file), true);
  assert.deepEqual(parsePrivateKey(file, pass), alice);
  assert.throws(() => parsePrivateKey(file), { code: "PASSPHRASE_NEEDED" });
  assert.throws(() => parsePrivateKey(file, utf8("correct horsf")), { code: "PASSPHRASE_WRONG" });
  assert.throws(() => parsePrivateKey(file, utf8("")), { code: "PASSPHRASE_WRONG", message: /empty/ });
  assert.throws(() => encodePrivateKey(alice, noRandom, utf8("")), { code: "PASSPHRASE_NEEDED" });
});

test("private-key: 24 rounds of bcrypt, aes256-ctr and a fresh salt when nothing else is said", () => {
  const file = encodePrivateKey(alice, seeded("salt"), pass);
  const bytes = Buffer.from(decodeArmor("OPENSSH PRIVATE KEY", file, "file", "KEY_INVALID"));
  const options = concatBytes(wireString(seeded("salt")(16)), wireU32(24));
  assert.equal(bytes.indexOf(concatBytes(wireString("aes256-ctr"), wireString("bcrypt"), wireString(options))), 15);
  assert.notEqual(file, encodePrivateKey(alice, seeded("other"), pass, 1));
});

test("private-key: the file that the refusals below start from is good", () => {
  assert.deepEqual(parsePrivateKey(fileOf({})), alice);
  assert.deepEqual(parsePrivateKey(fileOf({ padding: new Uint8Array() })), alice);
  assert.deepEqual(parsePrivateKey(fileOf({}).replaceAll("\n", "\r\n")), alice);
});

test("private-key: what is refused as KEY_INVALID, and in which words", () => {
  const rsa = concatBytes(wireString("ssh-rsa"), wireString("e"), wireString("n"));
  const bytes = (length: number) => new Uint8Array(length);
  const cases: [string, Partial<Parts>, RegExp][] = [
    ["magic", { magic: "openssh-key-v2\0" }, /magic: expected "openssh-key-v1/],
    ["kdf without cipher", { kdf: "bcrypt" }, /expected no kdf/],
    ["kdf options without cipher", { kdfOptions: bytes(1) }, /expected no kdf/],
    ["cipher without kdf", { cipher: "aes256-ctr" }, /expected kdf bcrypt for an encrypted key, found none/],
    ["no salt", bcrypt(bytes(0), 1), /kdf salt: expected 1 to 64 bytes, found 0/],
    ["a long salt", bcrypt(bytes(65), 1), /kdf salt: expected 1 to 64 bytes, found 65/],
    ["more kdf options", bcrypt(bytes(16), 1, "x"), /1 trailing bytes/],
    ["encrypted, not whole blocks", { ...bcrypt(bytes(16), 1), privatePart: bytes(136) }, /whole blocks of 16/],
    ["encrypted, with a tag", { ...bcrypt(bytes(16), 1), rest: bytes(16) }, /expected 0 bytes after/],
    ["gcm, no tag", { ...bcrypt(bytes(16), 1), cipher: "aes256-gcm@openssh.com" }, /expected 16 bytes after/],
    ["no key", { keys: 0 }, /expected one key, found 0/],
    ["two keys", { keys: 2 }, /expected one key, found 2/],
    ["outer RSA", { outerKey: rsa }, /expected ssh-ed25519, found ssh-rsa/],
    ["inner RSA", { type: "ssh-rsa", padding: bytes(0), comment: utf8("alice6789") }, /expected "ssh-ed25519"/],
    ["empty private part", { privatePart: bytes(0) }, /whole blocks of 8 bytes, found 0/],
    ["not whole blocks", { padding: bytes(1) }, /whole blocks of 8 bytes, found 137/],
    ["trailing bytes", { rest: bytes(1) }, /expected 0 bytes after the private part, found 1/],
    ["check-ints differ", { checks: [7, 8] }, /equal check-ints/],
    ["another outer key", { outerKey: publicKeyBlob(bob.publicKey.raw) }, /in three places/],
    ["another inner key", { innerPublic: bob.publicKey.raw }, /in three places/],
    ["another second half", { secret: concatBytes(alice.seed, bob.publicKey.raw) }, /in three places/],
    ["another seed", { secret: concatBytes(bob.seed, raw) }, /in three places/],
    ["short secret", { secret: bytes(56) }, /secret key: expected 64 bytes, found 56/],
    ["short inner key", { innerPublic: bytes(24) }, /public key: expected 32 bytes, found 24/],
    ["padding of zeros", { padding: bytes(8) }, /padding: expected bytes 1, 2, 3/],
    ["padding from 0", { padding: Uint8Array.from([0, 1, 2, 3, 4, 5, 6, 7]) }, /padding/],
    ["too much padding", { padding: Uint8Array.from({ length: 16 }, (_, at) => at + 1) }, /padding/],
    ["second key in the padding", { padding: concatBytes(wireString("ssh-ed25519"), bytes(1)) }, /padding/],
    ["comment not UTF-8", { comment: Uint8Array.from([0xff, 65, 65, 65, 65]) }, /comment: expected one line of UTF-8/],
    ["comment of two lines", { comment: utf8("a\nb.c") }, /comment: expected one line of UTF-8/],
    ["comment past the end", { privatePart: privatePartOf(honest).subarray(0, 128) }, /comment: cut short/],
  ];
  for (const [name, change, message] of cases) {
    assert.throws(
      () => parsePrivateKey(fileOf(change), pass),
      { name: "CofferError", code: "KEY_INVALID", message },
      name,
    );
  }
});

test("private-key: files that are none", () => {
  const good = fileOf({});
  const pem = good.replaceAll("OPENSSH PRIVATE KEY", "PRIVATE KEY");
  for (const text of [
    "",
    alice.publicKey.text,
    pem,
    good + good,
    `x\n${good}`,
    good.slice(0, -5),
    good.replace("b3Bl", "b3B!"),
  ]) {
    assert.throws(() => parsePrivateKey(text), { code: "KEY_INVALID" }, text.slice(0, 40));
    assert.throws(() => isEncrypted(text), { code: "KEY_INVALID" }, text.slice(0, 40));
  }
});

test("private-key: cut anywhere it is refused", () => {
  const bytes = decodeArmor("OPENSSH PRIVATE KEY", fileOf({}), "file", "KEY_INVALID");
  for (let length = 0; length < bytes.length; length += 1) {
    const text = encodeArmor("OPENSSH PRIVATE KEY", bytes.subarray(0, length));
    assert.throws(() => parsePrivateKey(text), { code: "KEY_INVALID" }, `${length} bytes`);
  }
});

test("private-key: one flipped bit never gives another key", () => {
  const bytes = decodeArmor("OPENSSH PRIVATE KEY", fileOf({}), "file", "KEY_INVALID");
  fc.assert(
    fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
      const copy = Uint8Array.from(bytes);
      copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      let found: PublicKey | undefined;
      try {
        found = parsePrivateKey(encodeArmor("OPENSSH PRIVATE KEY", copy)).publicKey;
      } catch (error) {
        assert.equal(Reflect.get(Object(error), "name"), "CofferError");
      }
      // Both check-ints and the comment carry nothing of the key.
      if (found !== undefined) assert.deepEqual(found, alice.publicKey);
    }),
  );
});

test("private-key: UNSUPPORTED before a passphrase is asked for", () => {
  for (const cipher of ["chacha20-poly1305@openssh.com", "3des-cbc", "aes128-ctr", "x".repeat(90)]) {
    const file = fileOf({ ...bcrypt(new Uint8Array(16), 1), cipher });
    assert.equal(isEncrypted(file), true);
    assert.throws(() => parsePrivateKey(file), { code: "UNSUPPORTED", message: /expected cipher none, aes256-ctr, / });
  }
  const sk = concatBytes(wireString("sk-ssh-ed25519@openssh.com"), wireString(raw), wireString("ssh:"));
  assert.throws(() => parsePrivateKey(fileOf({ outerKey: sk })), { code: "UNSUPPORTED" });
});

test("private-key: a weak public key is KEY_WEAK", () => {
  const outerKey = concatBytes(wireString("ssh-ed25519"), wireString(new Uint8Array(32)));
  assert.throws(() => parsePrivateKey(fileOf({ outerKey })), { code: "KEY_WEAK" });
});

test("private-key: rounds are bounded on both sides, reading and writing", () => {
  for (const rounds of [0, LIMITS.kdfRounds + 1, 0xffffffff]) {
    const file = fileOf(bcrypt(new Uint8Array(16), rounds));
    assert.throws(() => parsePrivateKey(file, pass), { code: "LIMIT_EXCEEDED", message: /rounds: expected 1 to 512/ });
  }
  for (const rounds of [0, -1, 1.5, Number.NaN, LIMITS.kdfRounds + 1]) {
    assert.throws(() => encodePrivateKey(alice, noRandom, pass, rounds), { code: "LIMIT_EXCEEDED" });
  }
});

test("private-key: sizes are bounded, reading and writing", () => {
  const blanks = " ".repeat(LIMITS.keyFileBytes);
  assert.throws(() => parsePrivateKey(fileOf({}) + blanks), { code: "LIMIT_EXCEEDED", message: /at most 16384/ });
  const wordy = { ...alice, comment: "x".repeat(LIMITS.keyFileBytes) };
  assert.throws(() => encodePrivateKey(wordy, noRandom), { code: "LIMIT_EXCEEDED", message: /at most 16384/ });
});

test("private-key: comments of more than one line are neither made nor written", () => {
  assert.throws(() => generatePrivateKey(noRandom, "a\nb"), { code: "KEY_INVALID" });
  assert.throws(() => encodePrivateKey({ ...alice, comment: "a\rb" }, noRandom), { code: "KEY_INVALID" });
});

test("private-key: no text in an error is a piece of the seed", () => {
  const text = fileOf({}).replace("OPENSSH PRIVATE KEY", "OPENSSH PRIVATE KEE");
  const secret = Buffer.from(alice.seed).toString("base64").slice(4, 20);
  for (const file of [
    text,
    fileOf({ checks: [1, 2] }),
    fileOf({ type: "ssh-dss" }),
    fileOf({ innerPublic: alice.seed }),
  ]) {
    assert.throws(
      () => parsePrivateKey(file),
      ({ message }: Error) => !message.includes(secret) && message.length < 200,
    );
  }
});

test("private-key-cipher: an empty passphrase or salt derives nothing", () => {
  const plain = new Uint8Array(16);
  assert.throws(() => seal(new Uint8Array(), { salt: plain, rounds: 1 }, plain), { code: "KEY_INVALID" });
  const cipher = { nodeName: "aes-256-cbc", keyBytes: 32, ivBytes: 16, tagBytes: 0 } as const;
  const noSalt = { salt: new Uint8Array(), rounds: 1 };
  assert.throws(() => openSealed(cipher, pass, noSalt, plain, new Uint8Array()), { code: "KEY_INVALID" });
});
