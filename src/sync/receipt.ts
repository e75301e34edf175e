// SPDX-License-Identifier: Apache-2.0
/**
 * A receipt: what a store says that it holds, signed by its store key, for whoever sends to it. It goes back on the stick
 * that brought a bundle; the next bundle leaves out what it names, and it proves which revocations have arrived.
 * Layer: sync. Format: docs/format.md, "Delivery receipts". Not here: the inventory's own form (repo/inventory.ts).
 */
import type { Digest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Time } from "../base/time.ts";
import type { PublicKey } from "../keys/public-key.ts";
import type { Signer } from "../keys/signer.ts";
import { checkSshsig, signSshsig } from "../keys/sshsig.ts";
import {
  digest,
  documentOf,
  integer,
  makeDocument,
  optional,
  publicKey,
  readDocument,
  record,
  required,
  type Schema,
  type Stored,
  time,
} from "../objects/documents/schema.ts";

export interface Receipt {
  readonly store: Digest;
  readonly storeKey: PublicKey;
  /** Id of the policy version 1 that the store was made with, and of its newest. */
  readonly pin: Digest;
  readonly policy: Digest;
  readonly log: { readonly number: number; readonly head: Digest };
  /** By that store's clock. */
  readonly issuedAt: Time;
  /** The index of the bundle whose import it tells of. */
  readonly answers?: Digest;
  /** The bytes that follow the signature. */
  readonly inventory: { readonly sha256: Digest; readonly sizeBytes: number };
}

const schema: Schema<Receipt> = documentOf("coffer/receipt", {
  store: required(digest),
  storeKey: required(publicKey),
  pin: required(digest),
  policy: required(digest),
  log: required(record({ number: required(integer(1, 999_999_999_999)), head: required(digest) })),
  issuedAt: required(time),
  answers: optional(digest),
  inventory: required(record({ sha256: required(digest), sizeBytes: required(integer(0, LIMITS.inventoryBytes)) })),
});

const WHAT = "receipt";
/** Of line 1: every member has a bound far below it. */
const LINE_BYTES = 64 * 1024;
const END = "-----END SSH SIGNATURE-----\n";

/** A receipt whose signature verified, and the inventory that it names. */
export interface SignedReceipt {
  readonly receipt: Stored<Receipt>;
  readonly inventory: Uint8Array;
}

/** The file: line 1 the document, then the store key's SSHSIG over it, then the inventory. */
export async function makeReceiptFile(
  body: Omit<Receipt, "storeKey">,
  inventory: Uint8Array,
  signer: Signer,
): Promise<Uint8Array> {
  const value = { type: "coffer/receipt", version: 1, ...body, storeKey: signer.publicKey.text };
  const { bytes } = makeDocument(schema, value, WHAT);
  const armored = await signSshsig(signer, "coffer-receipt", bytes);
  return Buffer.concat([bytes, Buffer.from(armored, "latin1"), inventory]);
}

/**
 * @throws CofferError SIGNATURE_INVALID - not signed by the key that it names; OBJECT_MISMATCH - another inventory
 *   follows; JSON_INVALID, DOCUMENT_INVALID, UNSUPPORTED, LIMIT_EXCEEDED
 */
export function parseReceiptFile(file: Uint8Array): SignedReceipt {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  const line = bytes.indexOf("\n") + 1;
  if (line === 0 || line > LINE_BYTES) {
    throw new CofferError(
      "DOCUMENT_INVALID",
      `receipt: expected a line of JSON first, found none of ${LINE_BYTES} bytes`,
    );
  }
  const receipt = readDocument(schema, bytes.subarray(0, line), WHAT);
  const mark = bytes.indexOf(END, line, "latin1");
  const end = mark < 0 || mark - line > LIMITS.signatureBytes ? line : mark + END.length;
  if (!checkSshsig(bytes.subarray(line, end), "coffer-receipt", receipt.bytes, receipt.value.storeKey)) {
    throw new CofferError(
      "SIGNATURE_INVALID",
      "receipt: expected the signature of the store key that it names, found none",
    );
  }
  const inventory = bytes.subarray(end);
  const { sizeBytes } = receipt.value.inventory;
  if (inventory.length !== sizeBytes) {
    throw new CofferError(
      "OBJECT_MISMATCH",
      `receipt: expected ${sizeBytes} bytes of inventory, found ${inventory.length}`,
    );
  }
  return { receipt, inventory };
}
