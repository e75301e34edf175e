// SPDX-License-Identifier: Apache-2.0
/** The bundle in the worked example of docs/format.md: made from that example's store, byte for byte. UPDATE_GOLDEN=1 writes it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import type { KeyId } from "../../src/keys/public-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import { type SignatureNamespace, signSshsig } from "../../src/keys/sshsig.ts";
import { blobPath, signaturePath } from "../../src/objects/layout.ts";
import { makeBundleIndex } from "../../src/sync/bundle-index.ts";
import type { Item } from "../../src/sync/source.ts";
import { indexSignaturePath, volumeFileName } from "../../src/sync/volume-note.ts";
import { writeVolume } from "../../src/sync/volume-writer.ts";
import { collect } from "../support/bundles.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { alice, entry, manifest, NAME, policy, readme, statement, store, weights } from "../support/worked-example.ts";

const PAGE = new URL("../../docs/format.md", import.meta.url);
const BEGIN = "<!-- worked bundle: begin, written by UPDATE_GOLDEN=1 -->\n";
const END = "<!-- worked bundle: end -->\n";

const disk = new MemoryFiles();
const objects = new Map([policy, statement, manifest].map(({ id, bytes }) => [id, bytes]));

async function signed(object: { id: Digest; bytes: Uint8Array }, namespace: SignatureNamespace): Promise<Item[]> {
  const armored = Buffer.from(await signSshsig(nodeSigner(alice), namespace, object.bytes));
  const keyId: KeyId = alice.publicKey.keyId;
  disk.plant(signaturePath(object.id, keyId), armored);
  return [plain(object), { kind: "signature", object: object.id, keyId, sizeBytes: armored.length }];
}
const plain = ({ id, bytes }: { id: Digest; bytes: Uint8Array }): Item => ({
  kind: "object",
  id,
  sizeBytes: bytes.length,
});

async function page(): Promise<{ readonly text: string; readonly volume: Buffer }> {
  const blobs = [readme, weights].map((bytes) => ({ sha256: sha256(bytes), size: bytes.length, bytes }));
  for (const { sha256: id, bytes } of blobs) disk.plant(blobPath(id), bytes);
  const items: Item[] = [
    plain(policy),
    ...(await signed(statement, "coffer-statement")),
    ...(await signed(manifest, "coffer-manifest")),
    ...blobs.map(({ sha256: blob, size }): Item => ({ kind: "blob", blob, sizeBytes: size })),
  ];
  const index = makeBundleIndex({
    store: entry.id,
    storeKey: store.publicKey,
    log: { number: 1, head: entry.id, earlier: [] },
    root: policy.value.root,
    policies: [policy.id],
    names: [{ name: NAME.text, heads: [statement.id], manifest: manifest.id, state: "trusted" }],
    ...{ candidates: [], revocations: [], refusals: [], evidence: [] },
    ...{ items, segmentBytes: 1024 ** 3, volumes: [items.length], blobs: "all" },
  });
  const signature = await signSshsig(nodeSigner(store), "coffer-bundle", index.bytes);
  const sender = { files: disk, objects: { read: async (id: Digest) => objects.get(id) }, storeKey: store.publicKey };
  const claims = new Map(blobs.map((blob) => [blob.sha256, blob]));
  const volume = await collect(writeVolume(sender, { index, signature, claims }, 1));
  const listed = spawnSync("tar", ["-tvf", "-"], {
    input: volume,
    encoding: "utf8",
    env: { ...process.env, TZ: "UTC" },
  });
  assert.equal(listed.status, 0, listed.stderr);
  const note = spawnSync("tar", ["-xOf", "-", "bundle/volume.json"], { input: volume, encoding: "utf8" }).stdout;
  const block = (body: string): string => `\`\`\`\n${body}\`\`\`\n`;
  const text = [
    `\nThe index, \`bundle/index.json\`, ${index.bytes.length} bytes, SHA-256 \`${index.id}\`:\n`,
    block(new TextDecoder().decode(index.bytes)),
    `Its signature, \`${indexSignaturePath(store.publicKey.keyId)}\`:\n`,
    block(signature),
    "The note, `bundle/volume.json`:\n",
    block(note),
    `The volume, \`${volumeFileName(index.id, 1, 1)}\`, has ${volume.length} bytes and the SHA-256`,
    `\`${sha256(volume)}\`. This is what \`TZ=UTC tar -tv\` lists:\n`,
    block(listed.stdout),
  ];
  return { text: `${text.join("\n")}\n`, volume };
}

test("docs/format.md shows a bundle as it is made", async () => {
  const { text } = await page();
  const before = readFileSync(PAGE, "utf8");
  const [begin, end] = [before.indexOf(BEGIN), before.indexOf(END)];
  assert.ok(begin >= 0 && end > begin, "docs/format.md: expected both markers");
  const start = begin + BEGIN.length;
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(PAGE, before.slice(0, start) + text + before.slice(end));
  else assert.equal(before.slice(start, end), text, "run with UPDATE_GOLDEN=1 and review the diff");
});
