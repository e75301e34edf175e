// SPDX-License-Identifier: Apache-2.0
/** What `bundle import`, pull and clone print with --json; docs/schemas/ holds the shapes. Layer: cli. */
import type { Delivery } from "../repo/delivery.ts";
import type { Pulled, Pushed } from "../repo/exchange.ts";
import type { ImportReport } from "../repo/import.ts";
import type { Imported } from "../repo/import-all.ts";
import { type Fault, messageWith } from "../repo/incoming.ts";
import type { Initialised } from "../repo/init.ts";
import { initialisedJson } from "./json-setup.ts";

const faultsJson = (faults: readonly Fault[]) => faults.map(({ what, error }) => messageWith(what, error));

export const failedJson = (failed: readonly Fault[]) =>
  failed.map(({ what, error: { code, message, details } }) => {
    return { bundle: what, code, message, ...(details.length === 0 ? {} : { details }) };
  });

/** @param leftOut - volumes that could not be used, in words */
function importedJson(report: ImportReport, leftOut: readonly string[] = []) {
  const { store, log, sameRoot, names, refused, notes, denials, blobs, mended, damaged, entries } = report;
  return { store, log, sameRoot, names, refused, notes, denials, blobs, mended, damaged, entries, leftOut };
}

/** The first bundle; where there are several, the others beside it. */
export function importsJson({ reports, faults, failed }: Imported) {
  const [first, ...others] = reports;
  return {
    ...(first === undefined ? {} : importedJson(first, faultsJson(faults))),
    ...(others.length === 0 ? {} : { others: others.map((report) => importedJson(report)) }),
    ...(failed.length === 0 ? {} : { failed: failedJson(failed) }),
  };
}

export function pulledJson({ reports, faults, failed, receipts, receipt, unreceipted }: Pulled) {
  return {
    imports: reports.map((report) => importedJson(report)),
    leftOut: faultsJson(faults),
    failed: failedJson(failed),
    receipts: receipts.map(receiptJson),
    ...(receipt === undefined ? {} : { receipt }),
    ...(unreceipted === undefined ? {} : { noReceipt: { code: unreceipted.code, message: unreceipted.message } }),
  };
}

function receiptJson({ receipt: { value } }: Delivery) {
  return { store: value.store, log: value.log, issuedAt: value.issuedAt };
}

export function pushedJson({ volumes, receipt, report, commit, moved }: Pushed) {
  return {
    ...{ moved, volumes },
    ...(receipt === undefined ? {} : { for: receiptJson(receipt) }),
    ...(commit === undefined ? {} : { commit }),
    ...(report === undefined ? {} : { imported: importedJson(report) }),
  };
}

export function clonedJson(made: Initialised, folder: string, imported: Imported) {
  return { ...initialisedJson(made, folder, `${made.secrets}/store_key`, []), imported: importsJson(imported) };
}
