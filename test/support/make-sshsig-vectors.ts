// SPDX-License-Identifier: Apache-2.0
/**
 * Makes test/vectors/sshsig.json: good signatures by the real ssh-keygen with fixed keys, junk built here byte by byte.
 * Run: node --import tsx test/support/make-sshsig-vectors.ts. The output is the same each time; a test compares it.
 * Not here: any of our own SSHSIG code. Only the key files that ssh-keygen signs with are written by ours.
 */
import { execFileSync } from "node:child_process";
import { createHash, createPrivateKey, createPublicKey } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { encodePrivateKey, type PrivateKey } from "../../src/keys/private-key.ts";
import { publicKeyFromRaw } from "../../src/keys/public-key.ts";

export interface SshsigVector {
  readonly name: string;
  readonly namespace: string;
  /** The key that is asked for, as one line. */
  readonly key: string;
  readonly messageBase64: string;
  readonly signature: string;
  /** As a stored file: does it count? */
  readonly stored: boolean;
  /** As a file from outside: the key that made it and the text to store, or a phrase of the refusal. */
  readonly import: { readonly key: string; readonly armored: string } | { readonly refused: string };
}

export interface SshsigVectors {
  readonly about: string;
  readonly cases: readonly SshsigVector[];
}

const VECTOR_FILE = fileURLToPath(new URL("../vectors/sshsig.json", import.meta.url));

const ABOUT = [
  "SSHSIG (OpenSSH PROTOCOL.sshsig) as Coffer takes it: version 1, ssh-ed25519, sha512, empty reserved field.",
  "stored: whether `signature`, byte for byte, counts as a signature of `messageBase64` by `key` for `namespace`.",
  "import: what becomes of the same text when it comes from outside: the key that made it and the canonical text to",
  "store (70 columns, LF, final newline), or `refused`, a phrase of the error text of this implementation.",
  "Good signatures were made with ssh-keygen -Y sign; the keys are test keys with published seeds, worth nothing.",
];

const NAMESPACES = ["manifest", "statement", "policy", "evidence", "refusal", "heartbeat", "log", "bundle", "receipt"];
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const ZEROS = Buffer.alloc(32);
const MESSAGE = Buffer.from('{"type":"coffer/statement"}\n');

// A wire writer of its own, so that a fault in ours cannot hide.
function str(content: Buffer | string): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([u32(bytes.length), bytes]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function armor(blob: Buffer | string, columns = 70, end = "\n"): string {
  const base64 = typeof blob === "string" ? blob : blob.toString("base64");
  const lines = base64.match(new RegExp(`.{1,${columns}}`, "g")) ?? [];
  return ["-----BEGIN SSH SIGNATURE-----", ...lines, "-----END SSH SIGNATURE-----", ""].join(end);
}

function unarmor(text: string): Buffer {
  return Buffer.from(text.split("\n").slice(1, -2).join(""), "base64");
}

function keyFromSeed(seed: Buffer, comment: string): PrivateKey {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const secret = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const raw = createPublicKey(secret).export({ format: "der", type: "spki" }).subarray(-32);
  return { publicKey: publicKeyFromRaw(raw), seed, comment };
}

function testKey(name: string, fits: (key: PrivateKey) => boolean = () => true): PrivateKey {
  for (let count = 0; ; count += 1) {
    const key = keyFromSeed(createHash("sha256").update(`coffer vector key ${name} ${count}`).digest(), name);
    if (fits(key)) return key;
  }
}

/** The fields of a blob, each of which a junk vector may replace. */
interface Fields {
  magic: string;
  version: number;
  key: Buffer;
  namespace: string;
  reserved: string;
  hash: string;
  type: string;
  signature: Buffer;
  afterSignature: Buffer;
  after: Buffer;
}

function blobOf(f: Fields): Buffer {
  const inner = Buffer.concat([str(f.type), str(f.signature), f.afterSignature]);
  const head = [Buffer.from(f.magic), u32(f.version), str(f.key), str(f.namespace), str(f.reserved), str(f.hash)];
  return Buffer.concat([...head, str(inner), f.after]);
}

function plusOrder(signature: Buffer): Buffer {
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString("hex")}`) + ORDER;
  const bytes = Buffer.from(s.toString(16).padStart(64, "0"), "hex").reverse();
  return Buffer.concat([signature.subarray(0, 32), bytes]);
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
  return copy;
}

type Sign = (key: PrivateKey, namespace: string, message: Buffer, options?: readonly string[]) => string;

/** Gives `use` a way to sign with the real ssh-keygen. */
function withStockSigner<T>(use: (sign: Sign) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "coffer-vectors-"));
  try {
    return use((key, namespace, message, options = []) => {
      const file = join(folder, key.publicKey.keyId);
      writeFileSync(
        file,
        encodePrivateKey(key, (length) => new Uint8Array(length)),
        { mode: 0o600 },
      );
      const args = ["-Y", "sign", "-q", "-f", file, "-n", namespace, ...options];
      return execFileSync("/usr/bin/ssh-keygen", args, { input: message, encoding: "utf8", stdio: "pipe" });
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const alice = testKey("alice");
const bob = testKey("bob");
const zero = testKey("zero", (key) => key.publicKey.raw[0] === 0);

interface Case {
  readonly key?: PrivateKey;
  readonly signer?: PrivateKey;
  readonly namespace?: string;
  readonly message?: Buffer;
}

function vector(
  name: string,
  signature: string,
  outcome: { stored: boolean; import: SshsigVector["import"] },
  of: Case,
) {
  const { key = alice, namespace = "coffer-statement", message = MESSAGE } = of;
  const messageBase64 = message.toString("base64");
  return { name, namespace, key: key.publicKey.text, messageBase64, signature, ...outcome };
}

function good(name: string, signature: string, of: Case = {}): SshsigVector {
  const key = (of.signer ?? of.key ?? alice).publicKey.text;
  return vector(name, signature, { stored: true, import: { key, armored: signature } }, of);
}

function importOnly(name: string, signature: string, armored: string, of: Case = {}): SshsigVector {
  const key = (of.signer ?? of.key ?? alice).publicKey.text;
  return vector(name, signature, { stored: false, import: { key, armored } }, of);
}

function refused(name: string, signature: string, phrase: string, of: Case = {}): SshsigVector {
  return vector(name, signature, { stored: false, import: { refused: phrase } }, of);
}

function goodOnes(sign: Sign): SshsigVector[] {
  const kinds = NAMESPACES.map((kind) => `coffer-${kind}`);
  const binary = Buffer.from(Array.from({ length: 1000 }, (_, at) => (at * 7) % 256));
  return [
    ...kinds.map((namespace) => good(`good: ${namespace}`, sign(alice, namespace, MESSAGE), { namespace })),
    good("good: empty message", sign(alice, "coffer-log", ZEROS.subarray(32)), {
      namespace: "coffer-log",
      message: ZEROS.subarray(32),
    }),
    good("good: binary message", sign(bob, "coffer-bundle", binary), {
      key: bob,
      namespace: "coffer-bundle",
      message: binary,
    }),
    good("good: key with a leading zero byte", sign(zero, "coffer-statement", MESSAGE), { key: zero }),
  ];
}

function layouts(text: string): SshsigVector[] {
  const blob = unarmor(text);
  const [head, ...tail] = text.split("\n");
  return [
    importOnly("layout: CRLF line ends", text.replaceAll("\n", "\r\n"), text),
    importOnly("layout: 64 columns", armor(blob, 64), text),
    importOnly("layout: one line of base64", armor(blob, 4000), text),
    importOnly("layout: blank lines around", `\n\n${text}\n \n`, text),
    importOnly("layout: no final newline", text.trimEnd(), text),
    importOnly(
      "layout: blanks between columns",
      [head, ...tail.map((line) => line.replace(/^(?=[^-])/, "\t"))].join("\n"),
      text,
    ),
    refused("layout: text before the armor", `sig:\n${text}`, "first line"),
    refused("layout: text after the armor", `${text}end\n`, "last line"),
    refused("layout: two armors in one file", text + text, "canonical base64"),
    refused("layout: no END line", text.split("\n").slice(0, -2).join("\n"), "last line"),
    refused("layout: only BEGIN", "-----BEGIN SSH SIGNATURE-----\n", "last line"),
    refused("layout: PGP armor", text.replaceAll("SSH SIGNATURE", "PGP SIGNATURE"), "first line"),
    refused("layout: empty file", "", "first line"),
    refused("layout: empty armor", armor(Buffer.alloc(0)), "magic"),
    refused("layout: over 4 KiB of blank lines", text + "\n".repeat(4096), "at most 4096 bytes"),
    refused("layout: base64 garbage", armor("!!!! not base64 !!!!"), "canonical base64"),
    refused(
      "layout: base64 with letters of the URL alphabet",
      armor(`${blob.toString("base64").slice(0, -4)}-_-_`),
      "canonical base64",
    ),
    refused("layout: base64 with a padding in the middle", armor(`QQ==${blob.toString("base64")}`), "canonical base64"),
  ];
}

function strangers(sign: Sign, text: string): SshsigVector[] {
  const byBob = sign(bob, "coffer-statement", MESSAGE);
  return [
    importOnly("stranger: signature by another key", byBob, byBob, { signer: bob }),
    refused("stranger: namespace file", sign(alice, "file", MESSAGE), 'found "file"'),
    refused("stranger: namespace git", sign(alice, "git", MESSAGE), 'found "git"'),
    refused("stranger: another of our namespaces", sign(alice, "coffer-manifest", MESSAGE), 'found "coffer-manifest"'),
    refused("stranger: namespace in capitals", sign(alice, "COFFER-STATEMENT", MESSAGE), 'found "COFFER-STATEMENT"'),
    refused("stranger: longer namespace", sign(alice, "coffer-statements", MESSAGE), 'found "coffer-statements"'),
    refused(
      "stranger: hash sha256",
      sign(alice, "coffer-statement", MESSAGE, ["-O", "hashalg=sha256"]),
      'found "sha256"',
    ),
    refused("tampered: message bit", text, "does not verify", { message: flipped(MESSAGE, 3) }),
    refused("tampered: message without its newline", text, "does not verify", { message: MESSAGE.subarray(0, -1) }),
    refused("tampered: message twice", text, "does not verify", { message: Buffer.concat([MESSAGE, MESSAGE]) }),
  ];
}

function junk(text: string): SshsigVector[] {
  const blob = unarmor(text);
  const key = Buffer.concat([str("ssh-ed25519"), str(Buffer.from(alice.publicKey.raw))]);
  const signature = blob.subarray(-64);
  const none = Buffer.alloc(0);
  const honest: Fields = {
    magic: "SSHSIG",
    version: 1,
    key,
    namespace: "coffer-statement",
    reserved: "",
    hash: "sha512",
    type: "ssh-ed25519",
    signature,
    afterSignature: none,
    after: none,
  };
  if (!blobOf(honest).equals(blob)) throw new Error("the blob that is built here is not the one of ssh-keygen");
  const pointKey = (hex: string) => Buffer.concat([str("ssh-ed25519"), str(Buffer.from(hex, "hex"))]);
  const identity = `01${"00".repeat(31)}`;
  const forged = Buffer.concat([Buffer.from(identity, "hex"), ZEROS]);
  const unreduced = `f0${"ff".repeat(30)}7f`;
  const rsa = Buffer.concat([str("ssh-rsa"), str(Buffer.from([1, 0, 1])), str(Buffer.alloc(128, 0x5a))]);
  const sk = Buffer.concat([str("sk-ssh-ed25519@openssh.com"), str(Buffer.from(alice.publicKey.raw)), str("ssh:")]);
  const cut = (bytes: number) => armor(blob.subarray(0, bytes));
  const changes: readonly [name: string, change: Partial<Fields>, phrase: string][] = [
    ["wrong magic", { magic: "SSHGIS" }, "magic"],
    ["version 0", { version: 0 }, "found 0"],
    ["version 2", { version: 2 }, "found 2"],
    ["empty namespace", { namespace: "" }, "found an empty one"],
    ["namespace with NUL", { namespace: "coffer-statement\0" }, "printable ASCII"],
    ["reserved field not empty", { reserved: "x" }, "found 1 bytes"],
    ["hash md5", { hash: "md5" }, 'found "md5"'],
    ["hash name empty", { hash: "" }, 'found ""'],
    ["inner type ssh-rsa", { type: "ssh-rsa" }, 'found "ssh-rsa"'],
    ["inner type rsa-sha2-512", { type: "rsa-sha2-512" }, 'found "rsa-sha2-512"'],
    ["inner type sk", { type: "sk-ssh-ed25519@openssh.com" }, 'found "sk-ssh-ed25519@openssh.com"'],
    ["key type rsa", { key: rsa }, "found ssh-rsa"],
    ["key type sk", { key: sk }, "security key"],
    ["key of 31 bytes", { key: Buffer.concat([str("ssh-ed25519"), str(ZEROS.subarray(1))]) }, "expected 32 bytes"],
    ["key with trailing bytes", { key: Buffer.concat([key, ZEROS]) }, "32 trailing bytes"],
    ["key empty", { key: none }, "cut short"],
    ["small-order key, forged for every message", { key: pointKey(identity), signature: forged }, "small-order"],
    ["small-order key, sign bit set", { key: pointKey(`01${"00".repeat(30)}80`), signature: forged }, "small-order"],
    ["key with y not reduced", { key: pointKey(unreduced) }, "2^255 - 19"],
    ["S plus the group order", { signature: plusOrder(signature) }, "second form"],
    ["S of all ones", { signature: Buffer.concat([signature.subarray(0, 32), Buffer.alloc(32, 255)]) }, "second form"],
    ["R changed", { signature: flipped(signature, 0) }, "does not verify"],
    ["S changed", { signature: flipped(signature, 32) }, "does not verify"],
    ["signature of zeros", { signature: Buffer.alloc(64) }, "does not verify"],
    ["signature of 63 bytes", { signature: signature.subarray(1) }, "expected 64 bytes"],
    ["signature of 65 bytes", { signature: Buffer.concat([signature, Buffer.alloc(1)]) }, "expected 64 bytes"],
    ["trailing bytes in the signature", { afterSignature: Buffer.alloc(1) }, "1 trailing bytes"],
    ["trailing bytes in the blob", { after: Buffer.alloc(4) }, "4 trailing bytes"],
    ["over 4 KiB by its namespace", { namespace: "n".repeat(4000) }, "at most 4096 bytes"],
  ];
  return [
    ...changes.map(([name, change, phrase]) =>
      refused(`junk: ${name}`, armor(blobOf({ ...honest, ...change })), phrase),
    ),
    refused("junk: cut after 5 bytes", cut(5), "cut short"),
    refused("junk: cut inside the key", cut(40), "cut short"),
    refused("junk: last byte missing", cut(blob.length - 1), "cut short"),
    refused(
      "junk: a length of 4 GiB",
      armor(Buffer.concat([blob.subarray(0, 10), u32(0xffffffff), ZEROS])),
      "cut short",
    ),
  ];
}

/** All vectors; needs /usr/bin/ssh-keygen (8.9 or newer, for its hashalg option). */
export function makeSshsigVectors(): SshsigVectors {
  return withStockSigner((sign) => {
    const text = sign(alice, "coffer-statement", MESSAGE);
    return {
      about: ABOUT.join(" "),
      cases: [...goodOnes(sign), ...layouts(text), ...strangers(sign, text), ...junk(text)],
    };
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(VECTOR_FILE, `${JSON.stringify(makeSshsigVectors(), undefined, 2)}\n`);
}
