// SPDX-License-Identifier: Apache-2.0
/** Values as people and as programs read them. The JSON shapes are stable: docs/cli.md. Layer: cli. */
import { short } from "../base/digest.ts";
import { CofferError, ERRORS, type ErrorCode } from "../base/errors.ts";
import { counted, sizeText } from "../base/quantity.ts";
import type { Added } from "../repo/add.ts";
import type { Candidate } from "../repo/candidates.ts";
import type { Listed } from "../repo/list.ts";
import type { Store } from "../repo/store.ts";
import type { Verdict } from "../repo/verdict.ts";

type Finding = Added["findings"][number];

export const SCHEMA_VERSION = 1;

export { counted, sizeText };

export function verdictJson(verdict: Verdict) {
  return { ...verdict, reasons: verdict.reasons.map(reasonJson) };
}

export function reasonJson({ code, text }: { readonly code: ErrorCode; readonly text: string }) {
  return { code, text };
}

export function findingJson({ code, level, path, text }: Finding) {
  return { code, level, ...(path === undefined ? {} : { path }), text };
}

/** What any command that fails has as `error`. */
export function errorJson(error: unknown) {
  const known = error instanceof CofferError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  const code = known?.code ?? "INTERNAL";
  return { code, message, details: known?.details ?? [], hint: ERRORS[code].hint };
}

export function listedJson(listed: Listed) {
  const { name, ...rest } = listed;
  return { name: name.text, ...rest };
}

export function storeJson(store: Store, entry: { readonly number: number; readonly id: string }) {
  return { id: store.id, log: { number: entry.number, id: entry.id } };
}

/** Lines that say what a candidate is, to be read before signing. */
export function candidateLines({ name, statement, manifest, verdict, evidence, refusedBy }: Candidate): string[] {
  const { value } = statement;
  const end = value.expiresAt === undefined ? "no end of its own" : `until ${value.expiresAt}`;
  return [
    `${name.text} shall be trusted as exactly these files:`,
    ...fileLines(manifest.value),
    `  manifest   ${manifest.id}`,
    `  statement  ${statement.id} (its bytes are what is signed)`,
    `  issued     ${value.issuedAt}, ${end}`,
    `  follows    ${value.previous.length === 0 ? "nothing: the first of this name" : value.previous.map(short).join(", ")}`,
    ...evidenceLines(evidence),
    ...[...refusedBy].map(([who, why]) => `  refused    by ${who}: ${why}`),
    ...verdict.findings.filter(({ id }) => id !== "refused").map((finding) => `  note: ${finding.text}`),
  ];
}

/** The files of a manifest, as people compare them; the first 40. */
export function fileLines({ files }: Candidate["manifest"]["value"]): string[] {
  const lines = files
    .slice(0, 40)
    .map(({ sha256, size, path }) => `  ${sha256}  ${sizeText(size).padStart(8)}  ${path}`);
  return files.length > 40 ? [...lines, `  … and ${files.length - 40} more files`] : lines;
}

/** What was found out about the manifest; findings that only describe are left to `show`. */
function evidenceLines(evidence: Candidate["evidence"]): string[] {
  if (evidence.length === 0) return ["  evidence   none"];
  return evidence.flatMap(({ id, value }) => [
    `  evidence   ${short(id)}: ${value.kind} says ${value.result}, by ${value.tool.name} ${value.tool.version} at ${value.issuedAt}`,
    ...value.findings
      .filter(({ level }) => level !== "info")
      .map(({ level, path, text }) => `    ${level}: ${path === undefined ? "" : `${path}: `}${text}`),
  ]);
}

/** Columns with two spaces between; the last column is not padded. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}
