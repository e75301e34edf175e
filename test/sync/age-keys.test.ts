// SPDX-License-Identifier: Apache-2.0
/** Recipients and identities as people write them; what is not taken is named, and secrets are in no message. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { generateHybridIdentity, generateX25519Identity, identityToRecipient } from "age-encryption";
import { isCofferError } from "../../src/base/errors.ts";
import { parseIdentities, parseRecipients } from "../../src/sync/age-keys.ts";

const identity = await generateX25519Identity();
const recipient = await identityToRecipient(identity);
const other = await identityToRecipient(await generateX25519Identity());
const hybridIdentity = await generateHybridIdentity();
const hybrid = await identityToRecipient(hybridIdentity);

const words = (...texts: readonly string[]) => parseRecipients(texts.map((text) => ({ text, what: "a file" })));

async function messageOf(act: Promise<unknown>, code: string): Promise<string> {
  const error: unknown = await act.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(isCofferError(error), `expected ${code}`);
  assert.equal(error.code, code, error.message);
  return error.message;
}

describe("recipients", () => {
  test("words and files with comments; each counts once, in order", async () => {
    assert.deepEqual(await words(`# lab\n\n${other}\r\n  ${recipient}\n`, recipient, other), [other, recipient]);
    assert.deepEqual(await words(hybrid, hybrid), [hybrid]);
  });

  test("a kind that is not taken is named", async () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA me@host", /an OpenSSH key, which stock age takes and coffer does not/],
      ["ssh-rsa AAAA", /an OpenSSH key/],
      ["age1yubikey1qqqq", /a plugin or a hardware tag/],
      ["age1tag1qqqq", /a plugin or a hardware tag/],
      ["age1tagpq1qqqq", /a plugin or a hardware tag/],
      [identity, /an identity, which is a secret/],
      ["AGE-PLUGIN-YUBIKEY-1QQQQ", /an identity of a plugin/],
    ];
    for (const [text, expected] of cases) {
      const message = await messageOf(words(text), "RECIPIENT_INVALID");
      assert.match(message, expected);
      assert.ok(!message.includes(text));
    }
  });

  test("what is none is refused, with its line", async () => {
    const wrong = [
      ...[`${recipient}q`, recipient.slice(0, -1), recipient.toUpperCase(), "age1", "me@example.org", "age1 age1"],
      ...[`${recipient.slice(0, -1)}${recipient.endsWith("q") ? "p" : "q"}`, hybrid.slice(0, -5), `${recipient} x`],
    ];
    for (const text of wrong) {
      assert.match(await messageOf(words(`# one\n${text}`), "RECIPIENT_INVALID"), /^a file, line 2: /);
    }
    for (const empty of ["", "\n", "# nobody\n"]) {
      assert.match(await messageOf(words(recipient, empty), "RECIPIENT_INVALID"), /found none/);
    }
  });

  test("post-quantum beside others is refused: the weakest would decide", async () => {
    assert.match(await messageOf(words(recipient, hybrid), "RECIPIENT_INVALID"), /all of them post-quantum/);
  });
});

describe("identities", () => {
  test("a file as age-keygen writes it", async () => {
    const text = `# created: 2026-11-22T12:00:00Z\n# public key: ${recipient}\n${identity}\n`;
    assert.deepEqual(await parseIdentities(text, "id.txt"), [identity]);
    assert.deepEqual(await parseIdentities(`${identity}\n${hybridIdentity}`, "id.txt"), [identity, hybridIdentity]);
  });

  test("anything else is refused, and what it holds is not told", async () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      [recipient, /a recipient/],
      ["AGE-PLUGIN-YUBIKEY-1QQQQ", /of a plugin/],
      ["-----BEGIN AGE ENCRYPTED FILE-----\nYWdl", /with a passphrase/],
      ["age-encryption.org/v1\n-> scrypt x 18", /with a passphrase/],
      ["-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA", /an OpenSSH key/],
      [identity.slice(0, -1), /found something else/],
      [identity.toLowerCase(), /found something else/],
      [`${identity}Q`, /found something else/],
      ["", /found none/],
      ["# only a comment", /found none/],
    ];
    for (const [text, expected] of cases) {
      const message = await messageOf(parseIdentities(text, "id.txt"), "IDENTITY_INVALID");
      assert.match(message, expected);
      assert.ok(!message.includes(identity.slice(16, 40)));
    }
  });
});
