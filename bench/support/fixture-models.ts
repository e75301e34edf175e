// SPDX-License-Identifier: Apache-2.0
/**
 * The models of a bench store: real bytes, documents and signatures, made by the program's own document makers, for
 * fixture.ts to write. All follow from the seed and the number of the model.
 */
import { createHash } from "node:crypto";
import { encodeSafetensors } from "../../scripts/fixtures/tiny-hf-folder.mjs";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { type Name, parseLabel, parseManifestPath, parseName } from "../../src/base/names.ts";
import type { Random } from "../../src/base/ports.ts";
import { evidenceRef, nameRef, type RefPath } from "../../src/base/ref-path.ts";
import type { Time } from "../../src/base/time.ts";
import { generatePrivateKey, type PrivateKey } from "../../src/keys/private-key.ts";
import type { Signer } from "../../src/keys/signer.ts";
import { armorSshsig, type SignatureNamespace } from "../../src/keys/sshsig.ts";
import { makeEvidence } from "../../src/objects/documents/evidence.ts";
import { makeList } from "../../src/objects/documents/list.ts";
import { makeManifest } from "../../src/objects/documents/manifest.ts";
import { makeStatement } from "../../src/objects/documents/statement.ts";
import { blobPath, objectPath, signaturePath } from "../../src/objects/layout.ts";
import { TOOL_VERSION } from "../../src/repo/version.ts";
import { sshsigMessage } from "./bare.ts";

const DATA_BYTES = 4096;
/** Models of one namespace. */
const PER_NAMESPACE = 1000;

/** Bytes that follow from `label`. */
export function seededRandom(label: string): Random {
  let count = 0;
  return (length) => {
    count += 1;
    return new Uint8Array(createHash("shake256", { outputLength: length }).update(`${label} ${count}`).digest());
  };
}

export function keyFrom(seed: string, who: string): PrivateKey {
  return generatePrivateKey(seededRandom(`${seed} ${who}`), who);
}

/** The name of model `number`. */
export function modelName(number: number): Name {
  return parseName(`team${Math.floor(number / PER_NAMESPACE)}/model${number}@main`);
}

/** A safetensors file of about 4 KiB that nobody else has. */
export function modelBytes(label: string): Uint8Array {
  const data = seededRandom(label)(DATA_BYTES);
  return encodeSafetensors([{ name: "weight", dtype: "U8", shape: [DATA_BYTES], data }]);
}

/** Who made and approved all models, under which policy, when. */
export interface Makers {
  readonly seed: string;
  readonly publisher: Signer;
  readonly approvers: readonly Signer[];
  readonly storeKey: Signer;
  readonly policy: { readonly id: Digest; readonly root: Digest };
  readonly issuedAt: Time;
}

export interface Planted {
  /** Path in the store, and its bytes. */
  readonly files: readonly (readonly [string, Uint8Array])[];
  readonly refs: readonly { readonly ref: RefPath; readonly to: Digest }[];
}

interface Document {
  readonly id: Digest;
  readonly bytes: Uint8Array;
}

/** Model `number` as it lies in a store once it was added, published, approved and promoted. */
export async function makeModel(makers: Makers, number: number): Promise<Planted> {
  const name = modelName(number);
  const blob = modelBytes(`${makers.seed} model ${number}`);
  const manifest = makeManifest({ files: [fileOf("model.safetensors", blob)] });
  const evidence = inspection(manifest.id, makers.issuedAt);
  const list = makeList([evidence.id]);
  const statement = makeStatement({
    root: makers.policy.root,
    ref: nameRef("trusted", name),
    manifest: manifest.id,
    policy: makers.policy.id,
    sequence: 1,
    previous: [],
    issuedAt: makers.issuedAt,
    evidence: [evidence.id],
  });
  return {
    files: [
      [blobPath(sha256(blob)), blob],
      ...[manifest, evidence, list, statement].map(({ id, bytes }) => [objectPath(id), bytes] as const),
      await signature(makers.publisher, "coffer-manifest", manifest),
      await signature(makers.storeKey, "coffer-evidence", evidence),
      ...(await Promise.all(makers.approvers.map((who) => signature(who, "coffer-statement", statement)))),
    ],
    refs: [
      { ref: nameRef("trusted", name), to: statement.id },
      { ref: evidenceRef(manifest.id), to: list.id },
    ],
  };
}

function fileOf(path: string, bytes: Uint8Array) {
  const format = parseLabel("safetensors");
  return { path: parseManifestPath(path), size: bytes.length, sha256: sha256(bytes), format };
}

function inspection(manifest: Digest, issuedAt: Time) {
  const tool = { name: parseLabel("coffer"), version: TOOL_VERSION };
  return makeEvidence({ manifest, kind: parseLabel("inspection"), tool, result: "pass", findings: [], issuedAt });
}

async function signature(
  signer: Signer,
  namespace: SignatureNamespace,
  { id, bytes }: Document,
): Promise<readonly [string, Uint8Array]> {
  const signature = await signer.sign(sshsigMessage(namespace, bytes)); // not checked again: that costs more than to sign
  const armored = armorSshsig({ publicKey: signer.publicKey, namespace, signature });
  return [signaturePath(id, signer.publicKey.keyId), new TextEncoder().encode(armored)];
}
