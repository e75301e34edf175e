// SPDX-License-Identifier: Apache-2.0
/** `receipt`: what a store holds, told to whoever sends to it, and what another store's receipt says. Layer: cli. */
import { basename, join, resolve } from "node:path";
import { short } from "../../base/digest.ts";
import { CofferError, EXIT, passOthers } from "../../base/errors.ts";
import { fingerprint } from "../../keys/public-key.ts";
import { compareReceipt, type Delivery, readReceipt } from "../../repo/delivery.ts";
import { messageWith } from "../../repo/incoming.ts";
import { createReceipt, RECEIPT_BYTES } from "../../repo/receipt-files.ts";
import { type Context, open, storeFlag } from "../context.ts";
import { counted, sizeText } from "../format.ts";
import { readSmallFile } from "../small-file.ts";

export function readReceiptFile({ io }: Context, file: string): Uint8Array {
  return readSmallFile(resolve(io.cwd, file), RECEIPT_BYTES, "a receipt");
}

export async function runReceiptCreate(context: Context, place: string): Promise<void> {
  const { io, ui } = context;
  const store = await open(context);
  const { path, delivery } = await createReceipt(store, resolve(io.cwd, place));
  const { receipt, inventory } = delivery;
  const name = basename(path);
  const file = name === basename(place) ? place : join(place, name);
  ui.json({ file, ...deliveryJson(delivery) });
  ui.data(`${name}: ${counted(inventory.blobs.length, "blob")}, log entry ${receipt.value.log.number}`);
  ui.next(`coffer bundle create NAME --for ${name} --out STICK    (at the store that sends)`);
}

export async function runReceiptShow(context: Context, file: string): Promise<void> {
  const { ui } = context;
  const delivery = await receiptIn(context, file);
  ui.json(deliveryJson(delivery));
  for (const line of deliveryLines(delivery)) ui.data(line);
  ui.say("what it says was said by the key above: compare that with the store that you mean");
}

function deliveryJson({ receipt: { id, value }, inventory }: Delivery) {
  return {
    ...{ receipt: id, store: value.store, storeKey: value.storeKey.text, pin: value.pin, policy: value.policy },
    ...{ log: value.log, issuedAt: value.issuedAt, ...(value.answers === undefined ? {} : { answers: value.answers }) },
    ...{ denials: inventory.denials.length, refusals: inventory.refusals.length, heads: inventory.heads.length },
    ...{ manifests: inventory.manifests.length, blobs: inventory.blobs.length, missing: inventory.missing },
  };
}

function deliveryLines({ receipt: { id, value }, inventory }: Delivery): string[] {
  const { denials, refusals, heads, manifests, blobs, missing } = inventory;
  return [
    `receipt   ${id}`,
    `store     ${value.store}`,
    `key       ${fingerprint(value.storeKey)}`,
    `log       entry ${value.log.number}, ${value.log.head}`,
    `policy    ${value.policy} (of root ${value.pin})`,
    `at        ${value.issuedAt}, by that store's clock`,
    ...(value.answers === undefined ? [] : [`after     the import of bundle ${value.answers}`]),
    `has       ${counted(heads.length, "statement")} that stand, ${counted(manifests.length, "manifest")}, ${counted(blobs.length, "blob")}`,
    `knows     ${counted(denials.length, "revocation")}, ${counted(refusals.length, "refusal")}`,
    ...missing.map(({ blob, sizeBytes }) => `lacks     blob ${short(blob)}, ${sizeText(sizeBytes)}`),
  ];
}

/** The file is named, as what it holds may be no receipt at all. @throws CofferError as `readReceipt` */
async function receiptIn(context: Context, file: string): Promise<Delivery> {
  const bytes = readReceiptFile(context, file);
  try {
    return await readReceipt(bytes);
  } catch (error) {
    passOthers(error);
    throw new CofferError(error.code, messageWith(basename(file), error), { cause: error });
  }
}

/** @returns 0 if every revocation and refusal of this store is known to have arrived there, else 9 */
export async function runReceiptVerify(context: Context, file: string): Promise<number> {
  const { ui } = context;
  const delivery = await receiptIn(context, file);
  const store = await open(context);
  const compared = await compareReceipt(store, delivery);
  const { sameRoot, denials, undelivered, missing } = compared;
  const exit = undelivered.length > 0 ? EXIT.incomplete : EXIT.ok;
  ui.json({ ...deliveryJson(delivery), sameRoot, ours: denials, undelivered, exit });
  ui.data(
    `signed by the store ${short(delivery.receipt.value.store)}, ${fingerprint(delivery.receipt.value.storeKey)}`,
  );
  ui.data(`delivered: ${denials - undelivered.length} of ${denials} revocations and refusals`);
  for (const id of undelivered) ui.data(`not delivered: ${id}`);
  for (const { blob, sizeBytes } of missing) ui.data(`lacks: blob ${short(blob)}, ${sizeText(sizeBytes)}`);
  if (!sameRoot)
    ui.warn("that store has another policy root: what is revoked here binds there only what came from here");
  if (exit !== EXIT.ok) ui.next(`coffer bundle create${storeFlag(context)} --revocations --out STICK`);
  return exit;
}
