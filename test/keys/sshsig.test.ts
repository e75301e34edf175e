// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parsePublicKey, publicKeyFromRaw } from "../../src/keys/public-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import {
  armorSshsig,
  checkSshsig,
  importSshsig,
  parseSshsig,
  SIGNATURE_NAMESPACES,
  type SignatureNamespace,
  signSshsig,
} from "../../src/keys/sshsig.ts";
import { makeSshsigVectors, type SshsigVector } from "../support/make-sshsig-vectors.ts";
import { loadVectors } from "../support/vectors.ts";
import { keyOf, skipWithoutStock, sshKeygen, utf8, withFolder, writeSecret } from "./stock.ts";

const alice = keyOf("alice");
const bob = keyOf("bob");
const vectors = loadVectors<SshsigVector>("sshsig");

function parseNamespace(text: string): SignatureNamespace {
  const found = SIGNATURE_NAMESPACES.find((namespace) => namespace === text);
  assert.ok(found !== undefined, `the vectors ask for our namespaces only, found ${text}`);
  return found;
}

for (const v of vectors) {
  test(`sshsig: ${v.name}`, () => {
    const message = new Uint8Array(Buffer.from(v.messageBase64, "base64"));
    const namespace = parseNamespace(v.namespace);
    for (const text of [v.signature, utf8(v.signature)]) {
      assert.equal(checkSshsig(text, namespace, message, parsePublicKey(v.key)), v.stored);
      const outcome = v.import;
      if ("refused" in outcome) {
        const says = ({ message }: Error) => message.startsWith("signature: ") && message.includes(outcome.refused);
        assert.throws(() => importSshsig(text, namespace, message), { name: "CofferError", code: "SIGNATURE_INVALID" });
        assert.throws(() => importSshsig(text, namespace, message), says);
      } else {
        const { publicKey, armored } = importSshsig(text, namespace, message);
        assert.deepEqual([publicKey.text, armored], [outcome.key, outcome.armored]);
        assert.ok(checkSshsig(armored, namespace, message, publicKey), "what import gives counts once stored");
      }
    }
  });
}

test("sshsig: the vectors hold more refusals than acceptances, and no name twice", () => {
  assert.equal(new Set(vectors.map(({ name }) => name)).size, vectors.length);
  assert.ok(vectors.filter(({ stored }) => !stored).length > vectors.filter(({ stored }) => stored).length);
});

test("sshsig: the vectors are what their maker makes with ssh-keygen", { skip: skipWithoutStock }, () => {
  assert.deepEqual(makeSshsigVectors().cases, vectors);
});

test("sshsig: ssh-keygen passes every vector that counts when stored", { skip: skipWithoutStock }, () => {
  for (const v of vectors.filter(({ stored }) => stored)) {
    withFolder((folder) => {
      writeSecret(`${folder}/allowed`, `alice ${v.key}\n`);
      writeSecret(`${folder}/sig`, v.signature);
      const args = ["-f", `${folder}/allowed`, "-I", "alice", "-n", v.namespace, "-s", `${folder}/sig`];
      const { status, stderr } = sshKeygen(["-Y", "verify", ...args], Buffer.from(v.messageBase64, "base64"));
      assert.equal(status, 0, `${v.name}: ${stderr}`);
    });
  }
});

test("sshsig: what we sign counts for that key, namespace and message, and for no other", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 200 }),
      fc.uint8Array({ maxLength: 200 }),
      fc.constantFrom(...SIGNATURE_NAMESPACES),
      fc.constantFrom(...SIGNATURE_NAMESPACES),
      async (message, otherMessage, namespace, otherNamespace) => {
        const text = await signSshsig(nodeSigner(alice), namespace, message);
        assert.ok(checkSshsig(text, namespace, message, alice.publicKey));
        assert.ok(!checkSshsig(text, namespace, message, bob.publicKey));
        assert.equal(checkSshsig(text, otherNamespace, message, alice.publicKey), otherNamespace === namespace);
        const same = Buffer.compare(message, otherMessage) === 0;
        assert.equal(checkSshsig(text, namespace, otherMessage, alice.publicKey), same);
        assert.equal(armorSshsig(parseSshsig(text)), text);
      },
    ),
  );
});

test("sshsig: one changed, missing or added character and a stored signature no longer counts", async () => {
  const message = utf8("message");
  const text = await signSshsig(nodeSigner(alice), "coffer-log", message);
  const ascii = fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code));
  fc.assert(
    fc.property(fc.nat(text.length - 1), ascii, (at, character) => {
      const variants = [
        text.slice(0, at) + text.slice(at + 1),
        text.slice(0, at) + character + text.slice(at),
        text.slice(0, at) + character + text.slice(at + 1),
      ];
      for (const variant of variants.filter((variant) => variant !== text)) {
        assert.ok(!checkSshsig(variant, "coffer-log", message, alice.publicKey));
        assert.ok(!checkSshsig(Buffer.from(variant, "latin1"), "coffer-log", message, alice.publicKey));
      }
    }),
    { numRuns: 500 },
  );
});

test("sshsig: random bytes are refused with SIGNATURE_INVALID and nothing else", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.throws(() => parseSshsig(bytes), { code: "SIGNATURE_INVALID" });
    }),
  );
});

test("sshsig: a signer that signs with another key, or gives junk, leaves no signature", async () => {
  const message = utf8("message");
  for (const sign of [nodeSigner(bob).sign, async () => new Uint8Array(64), async () => new Uint8Array()]) {
    const signing = signSshsig({ publicKey: alice.publicKey, sign }, "coffer-log", message);
    await assert.rejects(signing, {
      code: "SIGNATURE_INVALID",
      message: /expected the signer to sign with key [0-9a-f]{64}/,
    });
  }
});

test("sshsig: the size limit is 4096 bytes, not one less", async () => {
  const message = utf8("message");
  const text = await signSshsig(nodeSigner(alice), "coffer-log", message);
  const filled = text + "\n".repeat(4096 - text.length);
  assert.equal(importSshsig(filled, "coffer-log", message).armored, text);
  assert.throws(() => importSshsig(`${filled}\n`, "coffer-log", message), { message: /found 4097$/ });
});

test("sshsig: a fault in a caller is not an answer", () => {
  const broken = new Proxy(new Uint8Array(), {
    get() {
      throw new TypeError("broken");
    },
  });
  assert.throws(() => checkSshsig(broken, "coffer-log", utf8("m"), alice.publicKey), TypeError);
});

test("sshsig: the namespaces are nine, each with our prefix", () => {
  assert.equal(new Set(SIGNATURE_NAMESPACES).size, 10);
  for (const namespace of SIGNATURE_NAMESPACES) assert.match(namespace, /^coffer-[a-z]+$/);
});

test("sshsig: however many keys were seen, each signature keeps the text that reads back as it", () => {
  const signature = new Uint8Array(64).fill(1);
  const keys = Array.from({ length: 5000 }, (_, at) => {
    const raw = new Uint8Array(32).fill(7);
    new DataView(raw.buffer).setUint32(0, at);
    return publicKeyFromRaw(raw);
  });
  const texts = keys.map((publicKey) => armorSshsig({ publicKey, namespace: "coffer-statement", signature }));
  assert.equal(new Set(texts).size, keys.length);
  for (const at of [0, 4095, 4096, 4999]) {
    const [publicKey, text] = [keys[at], texts[at]];
    assert.ok(publicKey !== undefined && text !== undefined);
    assert.equal(armorSshsig({ publicKey, namespace: "coffer-statement", signature }), text);
    assert.equal(parseSshsig(text).publicKey.keyId, publicKey.keyId);
  }
});
