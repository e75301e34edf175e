// SPDX-License-Identifier: Apache-2.0
/** What `bundle create`, `inspect` and `verify` print with --json. docs/schemas/ holds the shapes. Layer: cli. */
import { type Bundle, rootText } from "../repo/bundle.ts";
import type { WrittenVolume } from "../repo/bundle-files.ts";
import type { Inspected, Told, Verified } from "../repo/bundle-media.ts";
import type { Fault } from "../repo/incoming.ts";
import { failedJson } from "./json-transfer.ts";

/** The same in all three: which bundle this is. */
function bundleMember({ id, value }: Bundle["index"]) {
  const { store, log, root, policies, names, candidates, revocations, refusals, items, volumes, blobs } = value;
  return {
    ...{ id, store, log: { number: log.number, id: log.head }, policyRoot: root, root: rootText(policies), blobs },
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

/** The first bundle; where there are several, the others beside it, and those that cannot be read. */
function several<T extends object>(documents: readonly T[], failed: readonly Fault[]) {
  const [first, ...others] = documents;
  return {
    ...first,
    ...(others.length === 0 ? {} : { others }),
    ...(failed.length === 0 ? {} : { failed: failedJson(failed) }),
  };
}

export function inspectedJson({ bundles, failed }: Told<Inspected>) {
  return several(bundles.map(oneInspected), failed);
}

function oneInspected(looked: Inspected) {
  const { index, id, names, candidates, revocations, people, missing } = looked;
  const keys = [...people].map(([key, who]) => ({ key, who }));
  return {
    bundle: bundleMember({ id, value: index, bytes: new Uint8Array() }),
    ...{ storeKey: index.storeKey.keyId, people: keys, names, candidates, revocations, missing },
  };
}

export function verifiedJson({ bundles, failed }: Told<Verified>) {
  return several(bundles.map(oneVerified), failed);
}

function oneVerified(verified: Verified) {
  const { index, missing, wanted, faults, objects, signatures, blobs, blobsInPart, bytes, signers } = verified;
  return {
    bundle: bundleMember(index),
    checked: { objects, signatures, blobs, blobsInPart, bytes },
    signers: [...signers].map(([key, count]) => ({ key, signatures: count })),
    faults: faults.map(({ what, error }) => ({ what, code: error.code, text: error.message })),
    ...{ missing, wanted },
  };
}
