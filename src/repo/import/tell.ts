// SPDX-License-Identifier: Apache-2.0
/** One line for each name that an import was about: what became of it, and what to do where it is no yes. Layer: repo. */
import { short } from "../../base/digest.ts";
import type { Name } from "../../base/names.ts";
import { nameRef, type RefPath } from "../../base/ref-path.ts";
import { blobPath } from "../../objects/layout.ts";
import type { HeadView } from "../../refs/head-view.ts";
import { ruleFor } from "../../trust/roles.ts";
import type { Verdict } from "../../trust/verdict.ts";
import { firstMissing, missingBlob } from "../blobs.ts";
import { newestPolicy, readHeadIds } from "../dossier.ts";
import { judge } from "../resolve.ts";
import type { Work } from "./adoption.ts";
import type { ImportedName, Outcome } from "./report.ts";

export interface Became {
  /** Names whose heads are others now. */
  readonly moved: ReadonlySet<string>;
  /** Refs that took a new value: of what is proposed now, or in quarantine. */
  readonly set: ReadonlySet<RefPath>;
}

export async function tellNames(work: Work, names: readonly Name[], became: Became): Promise<ImportedName[]> {
  const head = await work.store.head();
  const told: ImportedName[] = [];
  const early: string[] = [];
  for (const name of [...names].sort((a, b) => (a.text < b.text ? -1 : 1))) {
    if (await isBadNewsAlone(work, head, name)) early.push(name.text);
    else told.push(await tellName(work, head, name, became));
  }
  if (early.length > 0) work.notes.add(earlyText(early));
  const kept: string[] = [];
  for (const one of told) if (await leavesBytes(work, one)) kept.push(one.name);
  if (kept.length > 0)
    work.notes.add(
      `deleted, and what nothing else here holds of their bytes is left to \`coffer gc\`: ${listed(kept)}`,
    );
  return told;
}

/** True of a name that this import deleted, some of whose bytes lie here: an import takes nothing away. */
async function leavesBytes(
  { store, blobs }: Work,
  { standing, outcome, manifest: id }: ImportedName,
): Promise<boolean> {
  if (standing !== "deleted" || outcome !== "adopted" || id === undefined) return false;
  const files = (await blobs.manifest(id))?.value.files ?? [];
  for (const file of files) if ((await store.files.stat(blobPath(file.sha256))) !== undefined) return true;
  return false;
}

/**
 * True of a name that was not asked for and that nothing is known of here but a denial, which every bundle brings: it
 * counts for its bytes at once, and for the name when that comes.
 */
async function isBadNewsAlone({ index, refusedNames }: Work, head: HeadView, name: Name): Promise<boolean> {
  const { names, candidates } = index.value;
  if (refusedNames.has(name.text) || [...names, ...candidates].some((asked) => asked.name === name.text)) return false;
  for (const family of ["trusted", "chain", "proposed", "quarantined", "acquired"] as const)
    if ((await head.readRef(nameRef(family, name))) !== undefined) return false;
  return (await head.readRef(nameRef("waiting", name))) !== undefined;
}

/** Names that are told one by one. */
const MOST_TOLD = 8;

function earlyText(names: readonly string[]): string {
  return `denials came, and are kept, of names that are not here: ${listed(names)}`;
}

function listed(names: readonly string[]): string {
  const more = names.length > MOST_TOLD ? ` and ${names.length - MOST_TOLD} more` : "";
  return `${names.slice(0, MOST_TOLD).join(", ")}${more}`;
}

async function tellName(work: Work, head: HeadView, name: Name, became: Became): Promise<ImportedName> {
  const refused = work.refusedNames.get(name.text);
  if (refused?.code === "CORRUPT") return { name: name.text, outcome: "refused", standing: "none", ...refused };
  const verdict = await judge(work.store, head, name, work.policies);
  const base = {
    name: name.text,
    standing: verdict.standing,
    ...(verdict.manifest === undefined ? {} : { manifest: verdict.manifest }),
  };
  const [reason] = verdict.reasons;
  if (reason?.code === "DIVERGED") {
    return { ...base, outcome: "diverged", code: "DIVERGED", text: await divergedText(work, head, name, reason.text) };
  }
  if (refused !== undefined) {
    // An older version that came along stands in for nothing; what denies the name counts, and is adopted.
    const isDenial = verdict.standing === "revoked" || verdict.standing === "deleted";
    const taken = isDenial && became.moved.has(name.text) ? "adopted" : "refused";
    return { ...base, outcome: work.old.has(name.text) ? "already" : taken, ...refused };
  }
  if (verdict.standing === "none") return { ...base, ...(await tellWaiting(head, name, became)) };
  if (verdict.standing === "trusted") {
    const missing = await missingBytes(work, verdict);
    if (missing !== undefined) return { ...base, outcome: "superseded", code: "BLOB_MISSING", text: missing };
  }
  const manifest = verdict.manifest === undefined ? undefined : await work.blobs.manifest(verdict.manifest);
  const brought = manifest !== undefined && work.blobs.brought(manifest.value);
  const isAdopted = became.moved.has(name.text) || (brought && (await stoodBefore(work, head, name)));
  const outcome: Outcome = isAdopted ? "adopted" : became.set.has(nameRef("proposed", name)) ? "proposed" : "already";
  // That a name fell long ago is told once: by the import that brought it.
  const denied = verdict.standing === "trusted" || outcome === "adopted" ? reason : undefined;
  if (denied === undefined) return { ...base, outcome };
  const fell = verdict.standing === "revoked" || verdict.standing === "deleted";
  const text = fell ? `cannot be used any more: ${denied.text}` : denied.text;
  return { ...base, outcome, code: denied.code, text };
}

/** False if another import took the name over meanwhile: it had the bytes as well. */
async function stoodBefore({ store, before }: Work, head: HeadView, name: Name): Promise<boolean> {
  const [then, now] = [await readHeadIds(store, before, name), await readHeadIds(store, head, name)];
  return [...then].sort().join() === [...now].sort().join();
}

/** What is here of a name that nothing was ever promoted under. */
async function tellWaiting(
  head: HeadView,
  name: Name,
  { set }: Became,
): Promise<Pick<ImportedName, "outcome" | "manifest" | "code" | "text">> {
  if (set.has(nameRef("proposed", name))) return { outcome: "proposed" };
  const waits = await head.readRef(nameRef("waiting", name));
  if (waits !== undefined)
    return { outcome: "refused", code: "NOT_TRUSTED", text: "what its statements follow is not here" };
  const quarantined = await head.readRef(nameRef("quarantined", name));
  if (quarantined !== undefined) {
    return { outcome: set.has(nameRef("quarantined", name)) ? "quarantined" : "already", manifest: quarantined };
  }
  if ((await head.readRef(nameRef("proposed", name))) !== undefined) return { outcome: "already" };
  return { outcome: "refused", code: "NOT_TRUSTED", text: "nothing of it could be taken" };
}

async function missingBytes({ store, blobs }: Work, { manifest: id }: Verdict): Promise<string | undefined> {
  const manifest = id === undefined ? undefined : await blobs.manifest(id);
  const file = manifest && (await firstMissing(store, manifest.value));
  return file && missingBlob(file).message;
}

/** Who has to do what: one promotion that names all of them. */
async function divergedText({ store, policies }: Work, head: HeadView, name: Name, found: string): Promise<string> {
  const ids = (await readHeadIds(store, head, name)).map(short).join(" and ");
  const rule = ruleFor(newestPolicy(policies), name);
  const who = rule?.publishers?.join(" or ") ?? "a publisher";
  const { principals, threshold } = rule?.approvers ?? { principals: ["its approvers"], threshold: 1 };
  const all = threshold === principals.length;
  const approvers = `${all ? "" : `${threshold} of `}${principals.join(", ")}`;
  const how = `${who} adds the model to keep once more (coffer add … --name ${name.text}) and proposes it, with the approval of ${approvers}`;
  return `${found}; to settle it, ${how}: that one promotion names ${ids}`;
}
