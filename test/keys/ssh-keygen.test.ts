// SPDX-License-Identifier: Apache-2.0
/** Both directions against the real ssh-keygen: keys, then signatures. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { publicFromSeed } from "../../src/keys/ed25519.ts";
import { encodePrivateKey, isEncrypted, type PrivateKey, parsePrivateKey } from "../../src/keys/private-key.ts";
import { parsePublicKey } from "../../src/keys/public-key.ts";
import { nodeSigner, tweetnaclSigner } from "../../src/keys/signer.ts";
import { checkSshsig, importSshsig, SIGNATURE_NAMESPACES, signSshsig } from "../../src/keys/sshsig.ts";
import { keyOf, read, seeded, skipWithoutStock, sshKeygen, utf8, withFolder, writeSecret } from "./stock.ts";

const skip = { skip: skipWithoutStock };
const pass = utf8("correct horse");
const message = utf8("exact bytes\n");
const alice = keyOf("alice");

/** The first key `label 0`, `label 1` … that fits; searched with node:crypto, as tweetnacl would take seconds. */
function keyThat(label: string, fits: (raw: Uint8Array, seed: Uint8Array) => boolean): PrivateKey {
  for (let count = 0; ; count += 1) {
    const seed = seeded(`${label} ${count}`)(32);
    if (fits(publicFromSeed(seed), seed)) return keyOf(`${label} ${count}`);
  }
}

const leadingZeros = [
  keyThat("public", (raw) => raw[0] === 0),
  keyThat("seed", (_raw, seed) => seed[0] === 0),
  keyThat("last", (raw) => raw[31] === 0),
];

test("ssh-keygen: the keys with zero bytes at an end are such keys", () => {
  const ends = leadingZeros.map(({ publicKey, seed }) => [publicKey.raw[0], seed[0], publicKey.raw[31]]);
  assert.deepEqual([ends[0]?.[0], ends[1]?.[1], ends[2]?.[2]], [0, 0, 0]);
});

test("ssh-keygen: keys that it makes are read by us, in every cipher that both know", skip, () => {
  withFolder((folder) => {
    for (const cipher of ["aes256-ctr", "aes256-cbc", "aes256-gcm@openssh.com"]) {
      const file = `${folder}/${cipher}`;
      const made = sshKeygen([
        "-q",
        "-t",
        "ed25519",
        "-Z",
        cipher,
        "-a",
        "1",
        "-N",
        "correct horse",
        "-C",
        "me é",
        "-f",
        file,
      ]);
      assert.equal(made.status, 0, made.stderr);
      assert.ok(isEncrypted(read(file)));
      const key = parsePrivateKey(read(file), pass);
      assert.equal(key.comment, "me é");
      assert.deepEqual({ ...key.publicKey, comment: "me é" }, parsePublicKey(read(`${file}.pub`)));
      assert.throws(() => parsePrivateKey(read(file)), { code: "PASSPHRASE_NEEDED" }, cipher);
      assert.throws(() => parsePrivateKey(read(file), utf8("wrong")), { code: "PASSPHRASE_WRONG" }, cipher);
    }
  });
});

test("ssh-keygen: comments of every length, so every length of padding", skip, () => {
  withFolder((folder) => {
    for (let length = 0; length < 8; length += 1) {
      const file = `${folder}/${length}`;
      const comment = "c".repeat(length);
      assert.equal(sshKeygen(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file]).status, 0);
      assert.equal(isEncrypted(read(file)), false);
      assert.equal(parsePrivateKey(read(file)).comment, comment);
    }
  });
});

test("ssh-keygen: every other cipher that it offers is UNSUPPORTED, and said so by name", skip, (t) => {
  const listed = spawnSync("/usr/bin/ssh", ["-Q", "cipher"], { encoding: "utf8" });
  if (listed.status !== 0) return t.skip("needs ssh to list ciphers");
  const ours = ["aes256-ctr", "aes256-cbc", "aes256-gcm@openssh.com"];
  const others = listed.stdout
    .trim()
    .split("\n")
    .filter((name) => !ours.includes(name));
  assert.ok(others.includes("chacha20-poly1305@openssh.com"));
  return withFolder((folder) => {
    for (const cipher of others) {
      const file = `${folder}/${cipher}`;
      const made = sshKeygen(["-q", "-t", "ed25519", "-Z", cipher, "-a", "1", "-N", "correct horse", "-f", file]);
      assert.equal(made.status, 0, made.stderr);
      const expected = { code: "UNSUPPORTED", message: new RegExp(`found ${cipher}$`) };
      assert.throws(() => parsePrivateKey(read(file), pass), expected, cipher);
    }
  });
});

test("ssh-keygen: other key types and formats are KEY_INVALID", skip, () => {
  withFolder((folder) => {
    const kinds = { ecdsa: ["-t", "ecdsa"], rsa: ["-t", "rsa", "-b", "1024"], pem: ["-t", "ecdsa", "-m", "PEM"] };
    for (const [name, args] of Object.entries(kinds)) {
      assert.equal(sshKeygen(["-q", ...args, "-N", "", "-f", `${folder}/${name}`]).status, 0);
      assert.throws(() => parsePrivateKey(read(`${folder}/${name}`)), { code: "KEY_INVALID" }, name);
    }
  });
});

test("ssh-keygen: keys that we write are loaded by it, with and without passphrase", skip, () => {
  withFolder((folder) => {
    const comments = Array.from({ length: 8 }, (_, length) => "c".repeat(length));
    const keys = [...leadingZeros, ...comments.map((comment) => ({ ...alice, comment }))];
    for (const [at, key] of keys.entries()) {
      const line = key.comment === "" ? key.publicKey.text : `${key.publicKey.text} ${key.comment}`;
      writeSecret(`${folder}/plain${at}`, encodePrivateKey(key, seeded("random")));
      const plain = sshKeygen(["-y", "-f", `${folder}/plain${at}`]);
      assert.equal(plain.stdout.trimEnd(), line, plain.stderr);
      if (at % 3 !== 0) continue; // each sealed file costs a tenth of a second here; the rest differ in padding only
      writeSecret(`${folder}/sealed${at}`, encodePrivateKey(key, seeded("random"), pass, 1));
      const sealed = sshKeygen(["-y", "-P", "correct horse", "-f", `${folder}/sealed${at}`]);
      assert.equal(sealed.stdout.trimEnd(), line, sealed.stderr);
      assert.notEqual(sshKeygen(["-y", "-P", "wrong", "-f", `${folder}/sealed${at}`]).status, 0);
    }
  });
});

test("ssh-keygen: the file of one key is the same as ours but for the check-ints", skip, () => {
  withFolder((folder) => {
    const file = `${folder}/key`;
    assert.equal(sshKeygen(["-q", "-t", "ed25519", "-N", "", "-C", "same", "-f", file]).status, 0);
    const theirs = read(file);
    const check = Buffer.from(theirs.split("\n").slice(1, -2).join(""), "base64").subarray(98, 102);
    assert.equal(
      encodePrivateKey(parsePrivateKey(theirs), () => check),
      theirs,
    );
  });
});

test("ssh-keygen: our signatures verify there, for their namespace, principal and bytes only", skip, async () => {
  for (const key of [alice, ...leadingZeros]) {
    for (const signer of key === alice ? [tweetnaclSigner(key), nodeSigner(key)] : [tweetnaclSigner(key)]) {
      const armored = await signSshsig(signer, "coffer-statement", message);
      withFolder((folder) => {
        writeSecret(`${folder}/allowed`, `alice ${key.publicKey.text}\n`);
        writeSecret(`${folder}/sig`, armored);
        const verify = (principal: string, namespace: string, bytes: Uint8Array) => {
          const args = ["-f", `${folder}/allowed`, "-I", principal, "-n", namespace, "-s", `${folder}/sig`];
          return sshKeygen(["-Y", "verify", ...args], bytes).status === 0;
        };
        assert.ok(verify("alice", "coffer-statement", message));
        assert.ok(!verify("alice", "coffer-policy", message));
        assert.ok(!verify("bob", "coffer-statement", message));
        assert.ok(!verify("alice", "coffer-statement", utf8("exact bytes")));
      });
    }
  }
});

test("ssh-keygen: it signs the very same text as we do, in every namespace", skip, async () => {
  for (const key of [alice, ...leadingZeros]) {
    for (const namespace of key === alice ? SIGNATURE_NAMESPACES : (["coffer-log"] as const)) {
      const ours = await signSshsig(nodeSigner(key), namespace, message);
      const theirs = withFolder((folder) => {
        writeSecret(`${folder}/key`, encodePrivateKey(key, seeded("random")));
        return sshKeygen(["-Y", "sign", "-q", "-f", `${folder}/key`, "-n", namespace], message).stdout;
      });
      assert.equal(theirs, ours);
      assert.ok(checkSshsig(theirs, namespace, message, key.publicKey));
      assert.deepEqual(importSshsig(theirs, namespace, message), { publicKey: key.publicKey, armored: ours });
    }
  }
});

test("ssh-keygen: its signatures by other key types are refused by name", skip, () => {
  withFolder((folder) => {
    const kinds = { "ecdsa-sha2-nistp256": ["-t", "ecdsa"], "ssh-rsa": ["-t", "rsa", "-b", "2048"] };
    for (const [type, args] of Object.entries(kinds)) {
      const file = `${folder}/${type}`;
      assert.equal(sshKeygen(["-q", ...args, "-N", "", "-f", file]).status, 0);
      const made = sshKeygen(["-Y", "sign", "-q", "-f", file, "-n", "coffer-log"], message);
      assert.equal(made.status, 0, made.stderr);
      const expected = { code: "SIGNATURE_INVALID", message: new RegExp(`expected ssh-ed25519, found ${type}$`) };
      assert.throws(() => importSshsig(made.stdout, "coffer-log", message), expected);
    }
  });
});
