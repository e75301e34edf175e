// SPDX-License-Identifier: Apache-2.0
/** `gc`, `du`, `doctor`: keeping a store in order. Layer: cli. */
import { CofferError, ERRORS, EXIT, isCofferError } from "../../base/errors.ts";
import { parseName } from "../../base/names.ts";
import { quote } from "../../base/quote.ts";
import { type Diagnosis, examineStore } from "../../repo/doctor.ts";
import { du } from "../../repo/du.ts";
import { type GcReport, gc, type Tally } from "../../repo/gc.ts";
import { type Context, findStore, locate, open, storeFlag } from "../context.ts";
import { counted, sizeText, storeJson, table } from "../format.ts";
import { collectedJson, diagnosedJson } from "../json-reading.ts";
import { examineMachine, realProbe } from "../machine-checks.ts";

export interface GcOptions {
  readonly dryRun?: boolean;
  readonly olderThan: string;
}

const UNIT_S = new Map([
  ["s", 1],
  ["m", 60],
  ["h", 3600],
  ["d", 24 * 3600],
]);

/** `90s`, `15m`, `24h`, `7d`, or 0, in seconds. @throws CofferError USAGE */
function parseAge(text: string): number {
  const unitS = text === "0" ? 1 : UNIT_S.get(text.slice(-1));
  if (unitS === undefined || !/^(?:0|[0-9]{1,9}[smhd])$/.test(text)) {
    throw new CofferError("USAGE", `--older-than: expected an age such as 24h, 15m, 7d or 0, found ${quote(text, 40)}`);
  }
  return Number.parseInt(text, 10) * unitS;
}

export async function runGc(context: Context, options: GcOptions): Promise<void> {
  const { ui } = context;
  const olderThanS = parseAge(options.olderThan);
  const store = await open(context);
  const dryRun = options.dryRun === true;
  const report = await gc(store, { olderThanS, dryRun, onStep: (step) => ui.progress(`looking at ${step}`) });
  ui.json(collectedJson(report, dryRun));
  for (const line of gcLines(report, dryRun)) ui.data(line);
  if (report.foreign > 0) {
    ui.warn(`${counted(report.foreign, "file")} of another account stayed: run \`coffer gc\` as that account too`);
  }
  if (report.strange > 0)
    ui.warn(`${counted(report.strange, "name")} that no store has stayed; \`coffer fsck\` names them`);
  const total = Object.values(report.moved).reduce((sum, { files }) => sum + files, 0);
  if (dryRun && total + report.removed.files + report.staging.files > 0) ui.next(`coffer gc${storeFlag(context)}`);
}

function gcLines(
  { moved, removed, waiting, young, staging, stagingKept, restored }: GcReport,
  dryRun: boolean,
): string[] {
  const line = (what: string, { files, bytes }: Tally): string[] =>
    files === 0 ? [] : [`${what}: ${counted(files, "file")}, ${sizeText(bytes)}`];
  const will = dryRun ? "would move" : "moved";
  const lines = [
    ...Object.entries(moved).flatMap(([folder, tally]) => line(`${will} to the trash from ${folder}`, tally)),
    ...line(`${dryRun ? "would remove" : "removed"} after a day in the trash`, removed),
    ...line("in the trash for less than a day", waiting),
    ...line("reached by nothing, but too young to move", young),
    ...line(`${dryRun ? "would remove" : "removed"} of imports that were stopped`, staging),
    ...line("of imports that are at work, or were stopped not long ago", stagingKept),
    ...(restored > 0 ? [`put back, since something reaches it: ${counted(restored, "file")}`] : []),
  ];
  return lines.length > 0 ? lines : ["nothing to do: everything is reached"];
}

export async function runDu(context: Context, names: readonly string[]): Promise<void> {
  const { ui } = context;
  const wanted = names.map((name) => parseName(name));
  const store = await open(context);
  const usage = await du(store, wanted);
  if (ui.inJson) return ui.json({ store: storeJson(store, await store.head()), ...usage });
  const rows = usage.names.map(({ name, files, bytes, ownBytes }) => [
    sizeText(bytes),
    `${sizeText(ownBytes)} own`,
    `${sizeText(bytes - ownBytes)} shared`,
    counted(files, "file"),
    name,
  ]);
  for (const line of table(rows)) ui.data(line);
  const parts = Object.entries(usage.totals).map(([part, { files, bytes }]) => [
    `  ${part}`,
    sizeText(bytes),
    counted(files, "file"),
  ]);
  ui.say("the whole store:");
  for (const line of table(parts)) ui.say(line);
  const { garbage, due, staging } = usage;
  ui.say(`gc would move ${sizeText(garbage.bytes)} to the trash and free ${sizeText(due.bytes)} there`);
  if (staging.files > 0) {
    ui.say(
      `imports that were stopped hold ${sizeText(staging.bytes)}: the same import goes on with it, gc --older-than 0 frees it`,
    );
  }
  if (garbage.files + due.files > 0) ui.next(`coffer gc${storeFlag(context)}`);
}

export async function runDoctor(context: Context): Promise<number> {
  const { ui, io } = context;
  const found: Diagnosis[] = [];
  const report = (diagnosis: Diagnosis): void => void found.push(diagnosis);
  examineMachine(realProbe(io.ports.clock()), report);
  const root = storeHere(context);
  if (root === undefined) ui.say("no store here or in a folder above, nor given: only the machine was looked at");
  else await examineStore(locate(context, root), io.ports, report);
  for (const { what, level, text, mend, code } of found) {
    ui.data(`${level.padEnd(4)}  ${what}: ${text}${code === undefined ? "" : ` [${code}]`}`);
    const deed = mend ?? (code === undefined ? undefined : ERRORS[code].hint);
    if (level !== "ok" && deed !== undefined) ui.data(`      mend: ${deed}`);
  }
  const codes = found.flatMap(({ level, code }) => (level === "fail" ? [code ?? ("INTERNAL" as const)] : []));
  const [first] = codes;
  const exit = first === undefined ? EXIT.ok : ERRORS[first].exit;
  ui.json(diagnosedJson(found, root !== undefined, exit));
  return exit;
}

/** undefined: there is none, and none was asked for. */
function storeHere(context: Context): string | undefined {
  try {
    return findStore(context);
  } catch (error) {
    const asked = context.options.store ?? context.io.env["COFFER_STORE"];
    if (isCofferError(error, "STORE_NOT_FOUND") && (asked === undefined || asked === "")) return undefined;
    throw error;
  }
}
