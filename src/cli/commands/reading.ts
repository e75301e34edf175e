// SPDX-License-Identifier: Apache-2.0
/** `list`, `show`, `fsck`: asking what stands. Layer: cli. */
import { short } from "../../base/digest.ts";
import { parseName } from "../../base/names.ts";
import { fsck } from "../../repo/fsck.ts";
import { list } from "../../repo/list.ts";
import { findObject, type Shown, show } from "../../repo/show.ts";
import { type Context, open, storeFlag } from "../context.ts";
import {
  candidateLines,
  counted,
  listedJson,
  SCHEMA_VERSION,
  sizeText,
  storeJson,
  table,
  verdictJson,
} from "../format.ts";
import { sayVerdict } from "./resolve.ts";

interface JsonOption {
  readonly json?: boolean;
}

export async function runList(context: Context, options: JsonOption): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  const listed = await list(store);
  if (options.json === true) {
    ui.json({
      schemaVersion: SCHEMA_VERSION,
      store: storeJson(store, await store.head()),
      names: listed.map(listedJson),
    });
    return;
  }
  const rows = listed.map(({ name, state, manifest, why, proposed }) => [
    state,
    manifest === undefined ? "-" : short(manifest),
    name.text,
    [why, proposed && state !== "proposed" ? "a candidate waits" : undefined]
      .filter((text) => text !== undefined)
      .join("; "),
  ]);
  for (const line of table(rows)) ui.data(line);
  if (rows.length === 0) ui.next(`coffer add${storeFlag(context)} FILES… --name NAMESPACE/MODEL@VERSION`);
}

export async function runShow(context: Context, text: string, options: JsonOption): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  if (/^[0-9a-f]{12,64}$/.test(text)) {
    const { id, bytes } = await findObject(store, text);
    ui.say(`object ${id}, ${sizeText(bytes.length)}`);
    const document = new TextDecoder().decode(bytes);
    if (document.startsWith("{")) ui.raw(document);
    else ui.data(Buffer.from(bytes).toString("hex"));
    return;
  }
  const shown = await show(store, parseName(text));
  if (options.json === true) ui.json(shownJson(shown));
  else sayShown(context, shown);
}

function shownJson({ name, verdict, refs, manifest, evidence, candidate }: Shown) {
  return {
    schemaVersion: SCHEMA_VERSION,
    name: name.text,
    verdict: verdictJson(verdict),
    refs,
    ...(manifest === undefined ? {} : { manifest: { id: manifest.id, ...manifest.value } }),
    evidence: evidence.map(({ id, value }) => ({ id, ...value })),
    ...(candidate === undefined
      ? {}
      : {
          candidate: {
            statement: candidate.statement.id,
            manifest: candidate.manifest.id,
            void: candidate.void,
            ready: candidate.verdict.trusted && !candidate.void,
            reasons: candidate.verdict.reasons,
          },
        }),
  };
}

function sayShown(context: Context, shown: Shown): void {
  const { ui } = context;
  for (const line of table(shown.refs.map(({ ref, id }) => [ref, id]))) ui.data(line);
  for (const file of shown.manifest?.value.files ?? []) {
    ui.data(`${file.sha256}  ${sizeText(file.size).padStart(8)}  ${file.format.padEnd(11)}  ${file.path}`);
  }
  for (const { value } of shown.evidence) {
    ui.data(`evidence ${value.kind}: ${value.result} by ${value.tool.name} ${value.tool.version} at ${value.issuedAt}`);
    for (const { level, path, text } of value.findings)
      ui.data(`  ${level}: ${path === undefined ? "" : `${path}: `}${text}`);
  }
  if (shown.refs.some(({ ref }) => /^refs\/(?:trusted|chain)\//.test(ref))) sayVerdict(context, shown.verdict);
  const { candidate } = shown;
  if (candidate === undefined) return;
  for (const line of candidateLines(candidate)) ui.say(line);
  if (candidate.void) ui.say("the candidate is void: the name moved since");
  for (const reason of candidate.verdict.reasons) ui.say(`  waits: ${reason.text} [${reason.code}]`);
  const act = candidate.void ? "propose" : candidate.verdict.trusted ? "promote" : "approve";
  ui.next(`coffer ${act}${storeFlag(context)} ${shown.name.text}`);
}

/** @returns the exit status: 0, 5 for damage, 3 for a trusted ref whose name is not trusted now */
export async function runFsck(context: Context, options: JsonOption): Promise<number> {
  const { ui } = context;
  const store = await open(context);
  const report = await fsck(store, (step) => ui.progress(`checking ${step}`));
  if (options.json === true)
    ui.json({ schemaVersion: SCHEMA_VERSION, store: storeJson(store, await store.head()), ...report });
  else {
    for (const { code, where, text } of report.problems) ui.data(`${code}  ${where}  ${text}`);
    for (const view of report.repaired)
      ui.data(`${store.readOnly ? "differs" : "repaired"}  ${view}  the log says otherwise`);
    for (const note of report.notes) ui.say(`note: ${note}`);
  }
  const { entries, objects, refs, blobs } = report.checked;
  const parts = [
    entries === 1 ? "1 log entry" : `${entries} log entries`,
    counted(objects, "object"),
    counted(refs, "ref"),
    counted(blobs, "blob"),
  ];
  ui.say(`checked ${parts.join(", ")}: ${outcome(report.problems.length)}`);
  return report.exit;
}

function outcome(problems: number): string {
  return problems === 0 ? "all is well" : counted(problems, "problem");
}
