// SPDX-License-Identifier: Apache-2.0
/** What `bundle create`, `inspect` and `verify` print with --json. docs/schemas/ holds the shapes. Layer: cli. */
import type { Bundle } from "../repo/bundle.ts";
import type { WrittenVolume } from "../repo/bundle-files.ts";
import type { Inspected, Verified } from "../repo/bundle-media.ts";

/** The same in all three: which bundle this is. */
function bundleMember({ id, value }: Bundle["index"]) {
  const { store, log, root, names, candidates, revocations, refusals, items, volumes, blobs } = value;
  return {
    ...{ id, store, log: { number: log.number, id: log.head }, policyRoot: root, blobs },
    names: names.map(({ name, state }) => ({ name, state })),
    candidates: candidates.map(({ name }) => name),
    ...{ revocations: revocations.length, refusals: refusals.length },
    ...{ items: items.length, bytes: items.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) },
    volumes: volumes.length,
  };
}

/** @param recipients - to whom the volumes are encrypted; nobody: they are in clear */
export function createdJson({ index }: Bundle, written: readonly WrittenVolume[], recipients: readonly string[]) {
  return { bundle: bundleMember(index), written, ...(recipients.length === 0 ? {} : { encryptedTo: recipients }) };
}

export function inspectedJson(looked: Inspected) {
  const { index, id, names, candidates, revocations, people, missing } = looked;
  const keys = [...people].map(([key, who]) => ({ key, who }));
  return {
    bundle: bundleMember({ id, value: index, bytes: new Uint8Array() }),
    ...{ storeKey: index.storeKey.keyId, people: keys, names, candidates, revocations, missing },
  };
}

export function verifiedJson(verified: Verified) {
  const { index, missing, wanted, faults, objects, signatures, blobs, blobsInPart, bytes, signers } = verified;
  return {
    bundle: bundleMember(index),
    checked: { objects, signatures, blobs, blobsInPart, bytes },
    signers: [...signers].map(([key, count]) => ({ key, signatures: count })),
    faults: faults.map(({ what, error }) => ({ what, code: error.code, text: error.message })),
    ...{ missing, wanted },
  };
}
