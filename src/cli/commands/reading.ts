// SPDX-License-Identifier: Apache-2.0
/** `list`, `show`, `resolve`, `path`, `checkout`, `fsck`: asking what stands. Layer: cli. */
import { resolve as resolvePath } from "node:path";
import { short } from "../../base/digest.ts";
import { parseName } from "../../base/names.ts";
import { fsck } from "../../repo/fsck.ts";
import { list } from "../../repo/list.ts";
import { checkout, pathOf } from "../../repo/materialise.ts";
import { answer } from "../../repo/resolve.ts";
import { findObject, type Shown, show } from "../../repo/show.ts";
import type { Verdict } from "../../repo/verdict.ts";
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

/** What is established and what is not, for people. */
function sayVerdict({ ui }: Context, verdict: Verdict): void {
  ui.say(`${verdict.name}: ${verdict.trusted ? "trusted" : "not trusted"}`);
  for (const reason of verdict.reasons) ui.say(`  no: ${reason.text} [${reason.code}]`);
  for (const fact of verdict.established) ui.say(`  established: ${fact.text}`);
  for (const fact of verdict.notEstablished) ui.say(`  not established: ${fact.text}`);
  for (const fact of verdict.findings) ui.say(`  note: ${fact.text}`);
  if (verdict.validUntil !== undefined) ui.say(`  this answer can change by time alone at ${verdict.validUntil}`);
}

export async function runResolve(context: Context, text: string, options: JsonOption): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  const { verdict, manifest, refusal } = await answer(store, parseName(text));
  if (options.json === true) {
    const found = manifest === undefined ? {} : { manifest: { id: manifest.id, files: manifest.value.files } };
    ui.json({ schemaVersion: SCHEMA_VERSION, verdict: verdictJson(verdict), ...found });
  }
  if (manifest === undefined) throw refusal;
  if (options.json === true) return;
  // The form that `sha256sum --check` reads.
  for (const file of manifest.value.files) ui.data(`${file.sha256}  ${file.path}`);
  sayVerdict(context, verdict);
  const models = manifest.value.files.filter((file) => file.format === "gguf");
  const onePath = models.length === 1 || manifest.value.files.length === 1;
  ui.next(`coffer ${onePath ? "path" : "checkout"}${storeFlag(context)} ${verdict.name}${onePath ? "" : " FOLDER"}`);
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
  if (shown.refs.some(({ ref }) => ref.startsWith("refs/chain/"))) sayVerdict(context, shown.verdict);
  const { candidate } = shown;
  if (candidate === undefined) return;
  for (const line of candidateLines(candidate)) ui.say(line);
  if (candidate.void) ui.say("the candidate is void: the name moved since");
  for (const reason of candidate.verdict.reasons) ui.say(`  waits: ${reason.text} [${reason.code}]`);
  const act = candidate.void ? "propose" : candidate.verdict.trusted ? "promote" : "approve";
  ui.next(`coffer ${act}${storeFlag(context)} ${shown.name.text}`);
}

export async function runPath(
  context: Context,
  text: string,
  file: string | undefined,
  options: { readonly to?: string },
): Promise<void> {
  const { io, ui } = context;
  const store = await open(context);
  const to = options.to === undefined ? undefined : resolvePath(io.cwd, options.to);
  const found = await pathOf(store, parseName(text), file, to);
  if (found.mended) ui.warn("what lay there was damaged or altered; it was laid again from the store");
  ui.raw(`${found.path}\n`);
}

export async function runCheckout(context: Context, text: string, folder: string): Promise<void> {
  const { io, ui } = context;
  const store = await open(context);
  const done = await checkout(store, parseName(text), resolvePath(io.cwd, folder));
  ui.raw(`${done.folder}\n`);
  ui.say(`${done.verdict.name}: ${counted(done.manifest.value.files.length, "file")}, each verified as it was written`);
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
