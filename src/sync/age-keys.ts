// SPDX-License-Identifier: Apache-2.0
/**
 * Recipients and identities of age, as people write them: on a command line, in files with one on a line and `#` comments.
 * Layer: sync. What age-encryption takes and stock age has in files: X25519, and the post-quantum hybrid. The texts of
 * identities are secrets and appear in no message.
 */
import { CofferError, type ErrorCode } from "../base/errors.ts";

/** Kinds that are known and not taken, by how they begin, with what to do instead. */
type Others = readonly (readonly [begin: RegExp, why: string])[];

const NATIVE = "age1…";
const OTHER_RECIPIENTS: Others = [
  // An X25519 recipient has no other `1`.
  [
    /^age1(?!pq1)[^1]+1/,
    `a recipient of a plugin or a hardware tag, which is not taken: expected ${NATIVE} of age-keygen`,
  ],
  [/^ssh-/, `an OpenSSH key, which stock age takes and coffer does not: expected ${NATIVE} of age-keygen`],
  [/^AGE-SECRET-KEY-/, "an identity, which is a secret: expected its recipient, as `age-keygen -y` prints it"],
  [/^AGE-PLUGIN-/, `an identity of a plugin: expected a recipient, ${NATIVE}`],
];
const OTHER_IDENTITIES: Others = [
  [/^age1/, "a recipient: expected the identity, AGE-SECRET-KEY-1…"],
  [/^AGE-PLUGIN-/, "an identity of a plugin, which is not taken: decrypt with `age -d` first"],
  [/^-----BEGIN AGE/, "an identity file with a passphrase: take that off with `age -d` first"],
  [/^age-encryption\.org/, "an identity file with a passphrase: take that off with `age -d` first"],
  [/^-----BEGIN OPENSSH/, "an OpenSSH key, which stock age takes and coffer does not: decrypt with `age -d` first"],
];
const POST_QUANTUM = "age1pq1";

interface Line {
  readonly text: string;
  /** Where it stands, for messages. */
  readonly at: string;
}

function linesOf(text: string, what: string): readonly Line[] {
  const lines = text.split(/\r?\n/);
  return lines
    .map((line, index) => ({ text: line.trim(), at: lines.length === 1 ? what : `${what}, line ${index + 1}` }))
    .filter((line) => line.text !== "" && !line.text.startsWith("#"));
}

function refuseOthers({ text, at }: Line, others: Others, code: ErrorCode): void {
  const found = others.find(([begin]) => begin.test(text));
  if (found !== undefined) throw new CofferError(code, `${at}: this is ${found[1]}`);
}

/**
 * @param sources - words of the command line and contents of files, each with how people call it
 * @returns each recipient once, in order of arrival
 * @throws CofferError RECIPIENT_INVALID - one that is not taken or not right, none at all, or post-quantum beside others
 */
export async function parseRecipients(
  sources: readonly { readonly text: string; readonly what: string }[],
): Promise<readonly string[]> {
  const { Encrypter } = await import("age-encryption");
  const found = new Set<string>();
  for (const { text, what } of sources) {
    const lines = linesOf(text, what);
    if (lines.length === 0) throw new CofferError("RECIPIENT_INVALID", `${what}: expected a recipient, found none`);
    for (const line of lines) {
      refuseOthers(line, OTHER_RECIPIENTS, "RECIPIENT_INVALID");
      try {
        new Encrypter().addRecipient(line.text);
      } catch (error) {
        const text = `${line.at}: expected ${NATIVE} with a good checksum, found something else`;
        throw new CofferError("RECIPIENT_INVALID", text, { cause: error });
      }
      found.add(line.text);
    }
  }
  const recipients = [...found];
  const hybrid = recipients.filter((text) => text.startsWith(POST_QUANTUM)).length;
  if (hybrid === 0 || hybrid === recipients.length) return recipients;
  const text = "recipients: expected all of them post-quantum (age1pq1…) or none, found both";
  throw new CofferError("RECIPIENT_INVALID", `${text}: the weakest decides for all`);
}

/** @throws CofferError IDENTITY_INVALID - no identity file as age-keygen writes it */
export async function parseIdentities(text: string, what: string): Promise<readonly string[]> {
  const { Decrypter } = await import("age-encryption");
  const lines = linesOf(text, what);
  if (lines.length === 0) throw new CofferError("IDENTITY_INVALID", `${what}: expected an identity, found none`);
  for (const line of lines) {
    refuseOthers(line, OTHER_IDENTITIES, "IDENTITY_INVALID");
    try {
      new Decrypter().addIdentity(line.text);
    } catch {
      // Without its cause: the packages' messages may quote what they were given.
      throw new CofferError("IDENTITY_INVALID", `${line.at}: expected AGE-SECRET-KEY-1…, found something else`);
    }
  }
  return lines.map((line) => line.text);
}
