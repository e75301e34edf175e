// SPDX-License-Identifier: Apache-2.0
/** What `bundle import`, pull and clone print with --json; docs/schemas/ holds the shapes. Layer: cli. */
import type { Pulled, Pushed } from "../repo/exchange.ts";
import type { ImportReport } from "../repo/import.ts";
import type { Initialised } from "../repo/init.ts";
import { initialisedJson } from "./json-setup.ts";

/** @param leftOut - volumes that could not be used, in words */
export function importedJson(report: ImportReport, leftOut: readonly string[]) {
  const { store, log, sameRoot, names, refused, notes, denials, blobs, entries } = report;
  return { store, log, sameRoot, names, refused, notes, denials, blobs, entries, leftOut };
}

export function pulledJson({ reports, faults, failed, receipt }: Pulled) {
  return {
    imports: reports.map((report) => importedJson(report, [])),
    leftOut: faults,
    failed: failed.map(({ what, error: { code, message } }) => ({ bundle: what, code, message })),
    ...(receipt === undefined ? {} : { receipt }),
  };
}

export function pushedJson({ volumes, report, commit, moved }: Pushed) {
  return {
    ...{ moved, volumes },
    ...(commit === undefined ? {} : { commit }),
    ...(report === undefined ? {} : { imported: importedJson(report, []) }),
  };
}

export function clonedJson(made: Initialised, folder: string, report: ImportReport, leftOut: readonly string[]) {
  return { ...initialisedJson(made, folder, `${made.secrets}/store_key`, []), imported: importedJson(report, leftOut) };
}
