// SPDX-License-Identifier: Apache-2.0
/** `gc`: keeping a store in order. Layer: cli. */
import { CofferError } from "../../base/errors.ts";
import { quote } from "../../base/quote.ts";
import { type GcReport, gc, type Tally } from "../../repo/gc.ts";
import { type Context, open, storeFlag } from "../context.ts";
import { counted, sizeText } from "../format.ts";

export interface GcOptions {
  readonly dryRun?: boolean;
  readonly olderThan: string;
}

const UNIT_S = { s: 1, m: 60, h: 3600, d: 24 * 3600 } as const;

/** `90s`, `15m`, `24h`, `7d`, or 0, in seconds. @throws CofferError USAGE */
function parseAge(text: string): number {
  const [, digits, unit] = /^([0-9]{1,9})([smhd])$/.exec(text === "0" ? "0s" : text) ?? [];
  if (digits === undefined) {
    throw new CofferError("USAGE", `--older-than: expected an age such as 24h, 15m, 7d or 0, found ${quote(text, 40)}`);
  }
  return Number(digits) * (unit === "s" || unit === "m" || unit === "h" || unit === "d" ? UNIT_S[unit] : 1);
}

export async function runGc(context: Context, options: GcOptions): Promise<void> {
  const { ui } = context;
  const olderThanS = parseAge(options.olderThan);
  const store = await open(context);
  const dryRun = options.dryRun === true;
  const report = await gc(store, { olderThanS, dryRun, onStep: (step) => ui.progress(`looking at ${step}`) });
  for (const line of gcLines(report, dryRun)) ui.data(line);
  if (report.foreign > 0) {
    ui.warn(`${counted(report.foreign, "file")} of another account stayed: run \`coffer gc\` as that account too`);
  }
  if (report.strange > 0)
    ui.warn(`${counted(report.strange, "name")} that no store has stayed; \`coffer fsck\` names them`);
  const total = Object.values(report.moved).reduce((sum, { files }) => sum + files, 0);
  if (dryRun && total + report.removed.files > 0) ui.next(`coffer gc${storeFlag(context)}`);
}

function gcLines({ moved, removed, waiting, young, restored }: GcReport, dryRun: boolean): string[] {
  const line = (what: string, { files, bytes }: Tally): string[] =>
    files === 0 ? [] : [`${what}: ${counted(files, "file")}, ${sizeText(bytes)}`];
  const will = dryRun ? "would move" : "moved";
  const lines = [
    ...Object.entries(moved).flatMap(([folder, tally]) => line(`${will} to the trash from ${folder}`, tally)),
    ...line(`${dryRun ? "would remove" : "removed"} after a day in the trash`, removed),
    ...line("in the trash for less than a day", waiting),
    ...line("reached by nothing, but too young to move", young),
    ...(restored > 0 ? [`put back, since something reaches it: ${counted(restored, "file")}`] : []),
  ];
  return lines.length > 0 ? lines : ["nothing to do: everything is reached"];
}
