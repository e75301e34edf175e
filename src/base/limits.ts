// SPDX-License-Identifier: Apache-2.0
/**
 * Every fixed limit, in one table. Past a limit: a named error, nothing stored.
 * Layer: base. docs/format.md ("Limits") mirrors this; test/house/docs.test.ts compares them.
 */
export const LIMITS = {
  /** Canonical JSON documents, in bytes. */
  documentBytes: 64 * 1024 * 1024,
  /** Nesting of arrays and objects in any JSON that is read. */
  jsonDepth: 32,
  /** Values of all kinds in a document, at any depth. */
  jsonValues: 2_000_000,
  /** Members of objects in a document, all objects together. */
  jsonMembers: 1_000_000,
  /** Files in one manifest. */
  manifestFiles: 100_000,
  /** One path in a manifest, in bytes. */
  pathBytes: 1024,
  /** A policy document, in bytes. */
  policyBytes: 1024 * 1024,
  /** Principals in a policy. */
  principals: 1000,
  /** Keys of one principal. */
  keysPerPrincipal: 32,
  /** A signature file, in bytes. */
  signatureBytes: 4096,
  /** A private or public key file, in bytes. */
  keyFileBytes: 16 * 1024,
  /** Rounds of bcrypt-pbkdf that a private key file may ask for. */
  kdfRounds: 512,
  /** Evidence ids in one statement. */
  evidencePerStatement: 64,
  /** Heads that a statement names in `previous`. */
  previous: 8,
  /** A piece of a blob in its chunk list, in bytes; blobs over this size have a chunk list. */
  chunkBytes: 8 * 1024 * 1024,
  /** Moves in one log entry: a revocation of the largest manifest always fits. */
  movesPerEntry: 250_000,
  /** Refs in one leaf of the ref tree. */
  leafRefs: 64,
  /** Log entries in one folder. */
  entriesPerFolder: 4096,
  /** A log entry with its signature, in bytes. */
  logEntryBytes: 128 * 1024 * 1024,
  /** Times that a transaction runs again on a new head before REF_MOVED. */
  commitAttempts: 200,
  /** Free text in a document (reason, note, finding), in characters. */
  textChars: 4096,
  /** A statement may be issued at most this long after `now`, in seconds. */
  clockSkewS: 300,
  /** The clock floor is raised at most this far past local now, in seconds. */
  clockFloorAheadS: 24 * 3600,
  /** Age at which a name without `freshness` in its rule is denied, in days. */
  defaultDenyDays: 365,
  /** The index of a bundle, in bytes. */
  bundleIndexBytes: 192 * 1024 * 1024,
  /** Values in the index of a bundle: three for each item. */
  bundleIndexValues: 7_000_000,
  /** The inventory of a delivery receipt, in bytes: some three million digests. */
  inventoryBytes: 100_000_000,
  /** The header of an encrypted volume, in bytes: some 300 recipients. */
  ageHeaderBytes: 32 * 1024,
  /** Items in a bundle. */
  bundleItems: 2_000_000,
  /** Volumes of a bundle. */
  bundleVolumes: 9999,
  /** Names in one folder of a medium, whatever they are. */
  mediumNames: 100_000,
  /** Volumes that are looked at together, wherever they lie. */
  mediaVolumes: 20_000,
  /** Bundles that are taken together, those of which nothing can be read included. */
  mediaBundles: 1000,
  /** The indexes of bundles that are taken together, in bytes: one may be as long. */
  mediaIndexBytes: 256 * 1024 * 1024,
  /** Delivery receipts on a medium. */
  mediumReceipts: 1000,
  /** Delivery receipts on a medium together, in bytes. */
  mediumReceiptBytes: 128 * 1024 * 1024,
  /** A blob over this size travels in parts, in bytes; a bundle may say less. */
  segmentBytes: 1024 * 1024 * 1024,
} as const;
