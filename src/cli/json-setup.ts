// SPDX-License-Identifier: Apache-2.0
/** What init, key and `log adopt-restore` print with --json; docs/schemas/ holds the shapes. Layer: cli. */
import { fingerprint, type PublicKey } from "../keys/public-key.ts";
import type { Adopted } from "../repo/adopt-restore.ts";
import type { Initialised } from "../repo/init.ts";

/** A public key as every document has it. */
export function keyJson(key: PublicKey) {
  return { key: key.text, fingerprint: fingerprint(key), keyId: key.keyId };
}

/** @param storeKey - the path of its private half */
export function initialisedJson(done: Initialised, folder: string, storeKey: string, warnings: readonly string[]) {
  const { id, value } = done.policy;
  return {
    ...{ folder, storeId: done.storeId, policy: { number: value.number, id }, storeKey },
    people: [...value.principals].map(([name, keys]) => ({ name, keys: keys.map(keyJson) })),
    warnings,
  };
}

/** @param file - of the public half; the private one lies beside it, without `.pub` */
export function newKeyJson(name: string, file: string, key: PublicKey, hasPassphrase: boolean) {
  return { name, file, hasPassphrase, ...keyJson(key) };
}

export function keysJson(keys: readonly (readonly [name: string, key: PublicKey])[]) {
  return { keys: keys.map(([name, key]) => ({ name, ...keyJson(key) })) };
}

export function adoptedJson({ storeId, newStoreId, former, restored, lost, loose }: Adopted) {
  const { number, head, time } = restored;
  return {
    ...{ formerStoreId: storeId, storeId: newStoreId, formerLog: former, restored: { number, id: head, time } },
    lost: lost.map((seen) => ({ number: seen.number, id: seen.head })),
    loose: loose.map(({ name, state, statement, issuedAt, reason }) => ({
      ...{ name, state, statement, issuedAt },
      ...(reason === undefined ? {} : { reason }),
    })),
  };
}
