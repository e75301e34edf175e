// SPDX-License-Identifier: Apache-2.0
/**
 * Gives one bundle to a store and says what it broke of what must hold whatever comes: only errors of the table, no write
 * outside local/tmp by what is refused but verified objects that nothing names, a clean fsck, and no trust in what
 * people of the policy have not signed. Layer: test support.
 */
import { type Digest, sha256 } from "../../../src/base/digest.ts";
import { ERRORS, EXIT, isCofferError } from "../../../src/base/errors.ts";
import { parseRefPath } from "../../../src/base/ref-path.ts";
import { printable } from "../../../src/base/text.ts";
import { parseList } from "../../../src/objects/documents/list.ts";
import { fsck } from "../../../src/repo/fsck.ts";
import { gc } from "../../../src/repo/gc.ts";
import { importFrom } from "../../../src/repo/import.ts";
import { openStore, type Store } from "../../../src/repo/store.ts";
import { checkPipe, checkVolumes } from "../../../src/sync/check.ts";
import { lookInto } from "../../../src/sync/look.ts";
import { portsOn } from "../../support/machine.ts";
import type { MemoryFiles } from "../../support/memory-files.ts";
import { contents, difference } from "../../support/store-bytes.ts";
import { type Input, openInput } from "./input.ts";
import { readsNothingElse } from "./sealed.ts";
import type { FuzzWorld, Receiver } from "./world.ts";

export interface Judged {
  /** What became of it, in a form that tells ways through the code apart. */
  readonly path: string;
  /** What must never be. */
  readonly broken?: string;
}

/** More than this beside what came is not to be written. */
const WRITTEN_BYTES = 8 * 1024 * 1024;

/** Its path of rule and code; a text only where it is no error that may be. */
function told(error: unknown): Judged {
  if (!isCofferError(error))
    return { path: "threw", broken: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  const rule = /\(rule ([a-z-]+)\)$/.exec(error.message)?.[1] ?? "";
  const path = `${error.code} ${rule}`;
  if (error.code === "INTERNAL") return { path, broken: error.message };
  if (printable(error.message) !== error.message || error.message.length > 4000)
    return { path, broken: `an error text: ${error.message}` };
  return { path };
}

/** @param effort - how many questions are asked */
export async function judge(world: FuzzWorld, input: Input, effort: "few" | "some" | "all"): Promise<Judged> {
  const receiver = world.receivers.find(({ name }) => name === input.receiver);
  if (receiver === undefined) throw new RangeError(`no receiver ${input.receiver}`);
  const deep = effort === "all";
  const strange = input.sealed?.byOutsider === true ? await strangeBytes(world, input) : undefined;
  if (strange !== undefined) return { path: "sealed", broken: strange };
  const looked = effort === "few" ? { path: "-" } : await look(input);
  if ("broken" in looked) return looked;
  const disk = receiver.disk.crash("none-lost");
  const ports = portsOn(world.machine, disk, "fuzz");
  const before = contents(disk, receiver.folder);
  const store = await openStore(receiver.location, ports);
  const number = (await store.head()).number;
  const outcome = await bring(store, input);
  const path = `${looked.path} / ${outcome.path}`;
  if (outcome.broken !== undefined) return { path, broken: outcome.broken };
  const after = await openStore(receiver.location, ports);
  const came = input.volumes.reduce((sum, { length }) => sum + length, 0);
  const broken =
    (disk.bytesWritten > WRITTEN_BYTES + 3 * came ? `it wrote ${disk.bytesWritten} bytes` : undefined) ??
    (outcome.failed ? await refusedLeaves(after, number, before, contents(disk, receiver.folder)) : undefined) ??
    (await staged(disk, receiver, outcome.failed)) ??
    (deep || (!outcome.failed && effort === "some") ? await sound(after) : undefined) ??
    (input.insider ? undefined : await trustsNobodyElse(world, receiver, after)) ??
    (outcome.failed && deep && (await after.head()).number === number
      ? await goneAfterGc(after, before, disk, receiver)
      : undefined);
  return broken === undefined ? { path } : { path, broken };
}

/** Of encrypted volumes that were changed without a key. */
async function strangeBytes({ clears }: FuzzWorld, { volumes }: Input): Promise<string | undefined> {
  for (const volume of volumes) {
    const found = await readsNothingElse(volume, clears);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** `bundle verify` and `bundle inspect`. */
async function look(input: Input): Promise<Judged> {
  try {
    const source = await openInput(input);
    const checked = "held" in source ? await checkVolumes(source) : await checkPipe(source);
    const codes = checked.faults.map(({ error }) => told(error));
    await lookInto(input.medium === "pipe" ? await openInput(input) : source);
    const broken = codes.find((one) => one.broken !== undefined)?.broken;
    const path = [...new Set(codes.map((one) => one.path))].join();
    return broken === undefined ? { path } : { path, broken };
  } catch (error) {
    return told(error);
  }
}

async function bring(store: Store, input: Input): Promise<Judged & { readonly failed: boolean }> {
  try {
    const report = await importFrom(store, await openInput(input));
    const names = report.names.map(({ outcome, standing, code }) => `${outcome} ${standing} ${code ?? ""}`);
    const refused = report.refused.map(({ code }) => code);
    const texts = [
      ...report.names.map(({ text }) => text ?? ""),
      ...report.refused.map(({ text }) => text),
      ...report.notes,
    ];
    const ugly = texts.find((text) => text !== "" && printable(text) !== text);
    const path = [...new Set([...names, ...refused])].sort().join();
    return { path, failed: false, ...(ugly === undefined ? {} : { broken: `a text: ${JSON.stringify(ugly)}` }) };
  } catch (error) {
    return { ...told(error), failed: true };
  }
}

const NAMED = /^(?:objects|blobs)\/([0-9a-f]{2})\/([0-9a-f]{62})$/;

/** Denials and a fork may have gone on record; else there are at most verified bytes that nothing names. */
async function refusedLeaves(
  store: Store,
  before: number,
  held: ReadonlyMap<string, Uint8Array>,
  holds: ReadonlyMap<string, Uint8Array>,
): Promise<string | undefined> {
  const head = await store.head();
  for (let number = before + 1; number <= head.number; number += 1) {
    const { note } = (await store.entryAt(number)).facts;
    if (!/: (?:denials|a forked log)$/.test(note ?? "")) return `refused, and log entry ${number}: ${note}`;
  }
  for (const path of difference(held, holds)) {
    if (head.number > before && !path.startsWith("blobs/")) continue;
    const [, first, rest] = NAMED.exec(path) ?? [];
    if (held.has(path)) return `refused, and ${path} is another`;
    if (path.startsWith("signatures/")) continue;
    if (first === undefined || sha256(holds.get(path) ?? new Uint8Array()) !== `${first}${rest}`)
      return `refused, and wrote ${path}`;
  }
  return undefined;
}

async function staged(disk: MemoryFiles, { folder }: Receiver, failed: boolean): Promise<string | undefined> {
  const left = (await disk.list(`${folder}/local/tmp`)) ?? [];
  const strange = left.find((name) => !failed || !/^import-[0-9a-f]{64}$/.test(name));
  return strange === undefined ? undefined : `left local/tmp/${strange}`;
}

async function sound(store: Store): Promise<string | undefined> {
  const { problems } = await fsck(store);
  const damage = problems.find(({ code }) => ERRORS[code].exit === EXIT.corrupt);
  return damage && `fsck: ${damage.code} ${damage.where}: ${damage.text}`;
}

/** Heads, denials and what they bind are what people have signed. */
async function trustsNobodyElse(
  { statements }: FuzzWorld,
  { sameRoot }: Receiver,
  store: Store,
): Promise<string | undefined> {
  const head = await store.head();
  for await (const [ref, id] of head.listRefs()) {
    const { family } = parseRefPath(ref);
    const ids: readonly Digest[] =
      family === "trusted"
        ? [id]
        : family === "chain" || family === "waiting"
          ? parseList((await store.objects.read(id)) ?? new Uint8Array()).value.ids
          : [];
    const foreign = ids.find((one) => !statements.has(one) || !sameRoot);
    if (foreign !== undefined) return `${ref} has ${foreign}, which nobody of the policy signed`;
  }
  return undefined;
}

/** What nothing names is garbage, and nothing else was touched. */
async function goneAfterGc(
  store: Store,
  before: ReadonlyMap<string, Uint8Array>,
  disk: MemoryFiles,
  receiver: Receiver,
): Promise<string | undefined> {
  await gc(store, { olderThanS: 0, dryRun: false });
  await gc(store, { olderThanS: 0, dryRun: false });
  const [path] = difference(before, contents(disk, receiver.folder)).filter((one) => !one.startsWith("local/"));
  return path && `after gc: ${path} is another than before`;
}
