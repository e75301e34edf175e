// SPDX-License-Identifier: Apache-2.0
/**
 * The worked example of docs/format.md: a whole small store, made by the code from fixed inputs, and rendered as Markdown
 * and as test/vectors/worked-example.json. Layer: test support. Compared with both in test/house/docs.test.ts.
 */
import { type Digest, parseDigest, sha256 } from "../../src/base/digest.ts";
import { parseLabel, parseManifestPath, parseName } from "../../src/base/names.ts";
import { nameRef, POLICY_REF } from "../../src/base/ref-path.ts";
import { parseTime, timeSeconds } from "../../src/base/time.ts";
import { generatePrivateKey, type PrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import { type SignatureNamespace, signSshsig } from "../../src/keys/sshsig.ts";
import { makeList } from "../../src/objects/documents/list.ts";
import { makeManifest } from "../../src/objects/documents/manifest.ts";
import { makePolicy } from "../../src/objects/documents/policy.ts";
import { makeStatement } from "../../src/objects/documents/statement.ts";
import { blobPath, objectPath, signaturePath } from "../../src/objects/layout.ts";
import { makeFirstEntry } from "../../src/refs/log-entry.ts";
import { entryPath } from "../../src/refs/log-layout.ts";
import { placeOf } from "../../src/refs/ref-leaf.ts";
import { EMPTY_TREE, makeRefNode } from "../../src/refs/ref-node.ts";
import { encodeStoreFile } from "../../src/repo/store-file.ts";

export interface Item {
  readonly title: string;
  readonly about: string;
  /** Where it lies in the store; undefined for what is no file of it. */
  readonly path?: string;
  readonly bytes: Uint8Array;
  /** Shown in hex: the bytes are no text. */
  readonly binary?: true;
}

const filled = (byte: number) => new Uint8Array(32).fill(byte);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const SEEDS = { alice: filled(0), store: filled(1) };
const ROOT_ID = parseDigest(hex(filled(3)));
const NONCE = parseDigest(hex(filled(2)));
export const ISSUED = parseTime("2026-11-22T00:00:00Z");
export const NAME = parseName("acme/tiny");

function tinySafetensors(): Uint8Array {
  const header = '{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.padEnd(56);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return new Uint8Array(Buffer.concat([length, Buffer.from(header), Buffer.from([0])]));
}

const keyFrom = (seed: Uint8Array, who: string): PrivateKey => generatePrivateKey(() => seed, who);
export const alice = keyFrom(SEEDS.alice, "alice");
export const store = keyFrom(SEEDS.store, "store");

export const readme = new TextEncoder().encode("a tiny model\n");
export const weights = tinySafetensors();
const fileOf = (path: string, bytes: Uint8Array, format: string) => ({
  path: parseManifestPath(path),
  size: bytes.length,
  sha256: sha256(bytes),
  format: parseLabel(format),
});
export const manifest = makeManifest({
  files: [fileOf("README.md", readme, "markdown"), fileOf("tiny.safetensors", weights, "safetensors")],
});
const everyone = { principals: ["alice"], threshold: 1 };
export const policy = makePolicy({
  number: 1,
  root: ROOT_ID,
  issuedAt: ISSUED,
  principals: { alice: { keys: [{ key: alice.publicKey.text, status: "active" }] } },
  rootRole: everyone,
  rules: [{ names: "*/*@*", publishers: ["alice"], approvers: everyone, revokers: everyone }],
});
export const statement = makeStatement({
  root: ROOT_ID,
  ref: nameRef("trusted", NAME),
  manifest: manifest.id,
  policy: policy.id,
  sequence: 1,
  previous: [],
  issuedAt: ISSUED,
  evidence: [],
});
const list = makeList([policy.id]);
const leaf = makeRefNode({ kind: "leaf", entries: [{ ref: POLICY_REF, id: list.id, place: placeOf(POLICY_REF) }] });
const signing = { signer: nodeSigner(store), now: timeSeconds(ISSUED) };
const moves = [{ ref: POLICY_REF, to: list.id }];
export const entry = await makeFirstEntry({ refs: leaf.id, moves, note: "init" }, NONCE, signing);

async function signature(
  title: string,
  about: string,
  namespace: SignatureNamespace,
  object: { readonly id: Digest; readonly bytes: Uint8Array },
): Promise<Item> {
  const armored = await signSshsig(nodeSigner(alice), namespace, object.bytes);
  const bytes = new TextEncoder().encode(armored);
  return { title, about, path: signaturePath(object.id, alice.publicKey.keyId), bytes };
}

const object = (title: string, about: string, { id, bytes }: { id: Digest; bytes: Uint8Array }): Item => ({
  title,
  about,
  path: objectPath(id),
  bytes,
});
const blob = (title: string, about: string, bytes: Uint8Array, binary?: true): Item => {
  const item = { title, about, path: blobPath(sha256(bytes)), bytes };
  return binary ? { ...item, binary } : item;
};
const line = (who: string, key: PrivateKey) => `${who} ${key.publicKey.text}\n`;

export const ITEMS: readonly Item[] = [
  {
    title: "allowed_signers",
    about: "The two public keys, in the form that `ssh-keygen -Y verify` reads. It is no part of a store.",
    bytes: new TextEncoder().encode(line("alice", alice) + line("store", store)),
  },
  {
    title: "coffer.json",
    about: "Says what the folder is and whose signature the log carries.",
    path: "coffer.json",
    bytes: encodeStoreFile(store.publicKey),
  },
  blob("README.md, a blob", "Thirteen bytes of text.", readme),
  blob("tiny.safetensors, a blob", "65 bytes: a safetensors file with one tensor of one byte.", weights, true),
  object("The manifest", "Both files. Neither is over 8 MiB, so neither has a chunk list.", manifest),
  await signature("alice's signature over the manifest", "As publisher.", "coffer-manifest", manifest),
  object("Policy 1", "One person, one rule. Nobody need sign version 1: the log's first entry pins it.", policy),
  object("The list of policies", "What `refs/policy` holds.", list),
  object("The empty ref tree", "The root of a store without any ref.", EMPTY_TREE),
  object("The ref tree with one ref", "A leaf, and the root that entry 1 names.", leaf),
  {
    title: "Log entry 1",
    about: `Line 1 and the store key's signature. The store id is the SHA-256 of line 1 alone: \`${entry.id}\`.`,
    path: entryPath(1),
    bytes: entry.bytes,
  },
  object("The statement", "`acme/tiny@main` holds the manifest. Its id is what approvers sign for.", statement),
  await signature("alice's signature over the statement", "As approver.", "coffer-statement", statement),
];

const renderItem = ({ title, about, path, bytes, binary }: Item): string => {
  const where = path === undefined ? "" : `\nPath: \`${path}\`  `;
  const body = binary ? `${hex(bytes).replace(/(.{64})(?=.)/gu, "$1\n")}\n` : Buffer.from(bytes).toString("utf8");
  const shown = binary ? ", in hex" : "";
  return `### ${title}\n\n${about}\n${where}\nSHA-256: \`${sha256(bytes)}\`\n\n${bytes.length} bytes${shown}:\n\n\`\`\`\n${body}\`\`\`\n`;
};
export const rendered = `\n${ITEMS.map(renderItem).join("\n")}\n`;

export const vector = {
  about:
    "The worked example of docs/format.md. Make the two Ed25519 keys from their 32-byte seeds (hex), then every file from the inputs alone: all bytes must be the same. `text` is the file as UTF-8, `hex` the file where it is no text; `sha256` is of the whole file. Store id, key ids and the places of files follow from them. The keys are worth nothing.",
  inputs: {
    aliceSeed: hex(SEEDS.alice),
    storeSeed: hex(SEEDS.store),
    nonce: NONCE,
    root: ROOT_ID,
    time: ISSUED,
    name: NAME.text,
  },
  outputs: {
    aliceKeyId: alice.publicKey.keyId,
    storeKeyId: store.publicKey.keyId,
    storeId: entry.id,
    statement: statement.id,
    placeOfPolicyRef: placeOf(POLICY_REF),
  },
  cases: ITEMS.map(({ title, path, bytes, binary }) => ({
    name: title,
    ...(path === undefined ? {} : { path }),
    sha256: sha256(bytes),
    ...(binary ? { hex: hex(bytes) } : { text: Buffer.from(bytes).toString("utf8") }),
  })),
};
