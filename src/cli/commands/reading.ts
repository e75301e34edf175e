// SPDX-License-Identifier: Apache-2.0
/** `list`, `show`, `fsck`: asking what stands. Layer: cli. */
import { short } from "../../base/digest.ts";
import { CofferError } from "../../base/errors.ts";
import { parseName, parsePattern } from "../../base/names.ts";
import { type FsckReport, fsck } from "../../repo/fsck.ts";
import { DEFAULT_PAGE, list } from "../../repo/list.ts";
import type { HeadView } from "../../repo/serving.ts";
import { type Shown, show } from "../../repo/show.ts";
import type { Store } from "../../repo/store.ts";
import { findStored, holdersOf } from "../../repo/stored.ts";
import { asOfJson, pastView, sayAsOf } from "../at.ts";
import { type Context, open, quoteArgument, storeFlag } from "../context.ts";
import { candidateLines, counted, listedJson, sizeText, storeJson, table } from "../format.ts";
import { shownJson, storedJson } from "../json-reading.ts";
import { actorFlag } from "../people.ts";
import { sayVerdict } from "./resolve.ts";

interface PastOption {
  readonly at?: string;
}

export interface ListOptions extends PastOption {
  readonly limit?: string;
  readonly after?: string;
}

export async function runList(context: Context, pattern: string | undefined, options: ListOptions): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  const view = await pastView(store, options.at);
  const page = await list(store, {
    at: view,
    limit: parseLimit(options.limit),
    ...(pattern === undefined ? {} : { pattern: parsePattern(pattern) }),
    ...(options.after === undefined ? {} : { after: parseName(options.after) }),
  });
  const { names, next } = page;
  for (const note of page.notes) ui.warn(note);
  sayAsOf(context, view);
  if (ui.inJson) {
    ui.json({
      store: storeJson(store, view === undefined ? page.head : await store.head()),
      ...asOfJson(view),
      names: names.map(listedJson),
      next: next?.text,
    });
    return;
  }
  const rows = names.map(({ name, state, manifest, why, proposed }) => [
    state,
    manifest === undefined ? "-" : short(manifest),
    name.text,
    [why, proposed && state !== "proposed" ? "a candidate waits" : undefined]
      .filter((text) => text !== undefined)
      .join("; "),
  ]);
  for (const line of table(rows)) ui.data(line);
  if (next !== undefined) ui.next(nextPage(context, pattern, options, next.text));
  else if (rows.length === 0 && view === undefined && pattern === undefined && options.after === undefined)
    ui.next(`coffer add${storeFlag(context)} FILES… --name NAMESPACE/MODEL@VERSION`);
}

function nextPage(context: Context, pattern: string | undefined, { limit, at }: ListOptions, after: string): string {
  const which = pattern === undefined ? "" : ` ${quoteArgument(pattern)}`;
  const size = limit === undefined ? "" : ` --limit ${limit}`;
  const past = at === undefined ? "" : ` --at ${quoteArgument(at)}`;
  return `coffer list${storeFlag(context)}${which}${size}${past} --after ${after}`;
}

const MOST_LISTED = 100_000;

/** @throws CofferError USAGE */
function parseLimit(text: string | undefined): number {
  if (text === undefined) return DEFAULT_PAGE;
  if (/^[1-9][0-9]{0,5}$/.test(text) && Number(text) <= MOST_LISTED) return Number(text);
  throw new CofferError("USAGE", `--limit: expected a number from 1 to ${MOST_LISTED}`);
}

export async function runShow(context: Context, text: string, options: PastOption): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  if (/^[0-9a-f]{12,64}$/.test(text)) {
    if (options.at !== undefined) throw new CofferError("USAGE", "show: --at goes with a name; bytes never change");
    return showDigest(context, store, text);
  }
  const view = await pastView(store, options.at);
  const shown = await show(store, parseName(text), view);
  sayAsOf(context, view);
  if (ui.inJson) ui.json(shownJson(shown, view));
  else await sayShown(context, store, shown, view);
}

/** A document or blob, and the names that hold it. */
async function showDigest(context: Context, store: Store, prefix: string): Promise<void> {
  const { ui } = context;
  const found = await findStored(store, prefix);
  const { id, kind, sizeBytes, document } = found;
  const holders = kind === "object" ? [] : await holdersOf(store, kind, id);
  if (ui.inJson) return ui.json(storedJson(found, holders));
  ui.say(`${kind} ${id}, ${sizeText(sizeBytes)}`);
  if (document?.[0] === OPENING_BRACE) ui.raw(new TextDecoder().decode(document));
  else if (document !== undefined) ui.data(Buffer.from(document).toString("hex"));
  if (kind === "object") return;
  const rows = holders.map(({ name, families, path }) => ["  held by", name.text, families.join(", "), path ?? ""]);
  const tell = (line: string): void => (document === undefined ? ui.data(line.trimStart()) : ui.say(line));
  for (const line of table(rows)) tell(line);
  if (rows.length === 0) ui.say("  no name holds it");
}
const OPENING_BRACE = 0x7b;

/** Refs of a name that a verdict is about. */
const JUDGED = /^refs\/(?:trusted|chain|waiting)\//;

async function sayShown(context: Context, store: Store, shown: Shown, view: HeadView | undefined): Promise<void> {
  const { ui } = context;
  ui.data(`${shown.name.text} ${view === undefined ? "is" : "was"} ${shown.state}`);
  for (const line of table(shown.refs.map(({ ref, id }) => [ref, id]))) ui.data(line);
  for (const file of shown.manifest?.value.files ?? []) {
    ui.data(`${file.sha256}  ${sizeText(file.size).padStart(8)}  ${file.format.padEnd(11)}  ${file.path}`);
  }
  for (const { value } of shown.evidence) {
    ui.data(`evidence ${value.kind}: ${value.result} by ${value.tool.name} ${value.tool.version} at ${value.issuedAt}`);
    for (const { level, path, text } of value.findings)
      ui.data(`  ${level}: ${path === undefined ? "" : `${path}: `}${text}`);
  }
  const past = view !== undefined;
  if (shown.refs.some(({ ref }) => JUDGED.test(ref))) sayVerdict(context, shown.verdict, past);
  const { candidate } = shown;
  if (candidate === undefined) return;
  for (const line of candidateLines(candidate)) ui.say(line);
  if (candidate.void) ui.say("the candidate is void: the name moved since");
  for (const reason of candidate.verdict.reasons) ui.say(`  waits: ${reason.text} [${reason.code}]`);
  const act = candidate.void ? "propose" : candidate.verdict.trusted ? "promote" : "approve";
  if (past) return;
  const part = act === "propose" ? "publish" : "approve";
  const as = act === "promote" ? "" : await actorFlag(context, store, shown.name, part, candidate.verdict);
  ui.next(`coffer ${act}${storeFlag(context)} ${shown.name.text}${as}`);
}

/** @returns the exit status: 0, 5 for damage, 3 for a trusted ref whose name is not trusted now */
export async function runFsck(context: Context): Promise<number> {
  const { ui } = context;
  const store = await open(context);
  const report = await fsck(store, (step) => ui.progress(`checking ${step}`));
  if (ui.inJson) ui.json({ store: storeJson(store, await store.head()), ...report });
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
  const lacking = report.problems.filter(({ names }) => names !== undefined);
  const way = wayOn(lacking, storeFlag(context));
  if (way !== undefined) ui.next(way);
  const [damaged] = lacking.filter(({ code }) => code === "CORRUPT");
  if (damaged !== undefined)
    ui.say(`or from a copy of this very store, in its folder: cp -pf COPY/${damaged.where} ${damaged.where}`);
  return report.exit;
}

/** What gets the bytes that names need and that are damaged, or not here; undefined where there are none. */
function wayOn(lacking: FsckReport["problems"], flag: string): string | undefined {
  const [name] = lacking[0]?.names ?? [];
  if (name === undefined) return undefined;
  const mend = lacking.some(({ code }) => code === "CORRUPT") ? " --mend" : "";
  return `coffer bundle import${flag}${mend} PLACE    (a medium of another store that has ${name}; or \`coffer pull${mend} REMOTE\`)`;
}

function outcome(problems: number): string {
  return problems === 0 ? "all is well" : counted(problems, "problem");
}
