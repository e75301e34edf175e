// SPDX-License-Identifier: Apache-2.0
/** Verdicts on names at a head. One `evaluate` serves every caller. Layer: repo. */
import { short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import { nameRef } from "../base/ref-path.ts";
import { timeSeconds } from "../base/time.ts";
import type { Manifest } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { HeadView } from "../refs/head-view.ts";
import { type EvaluateInput, evaluate, type Member } from "../trust/evaluate.ts";
import type { Verdict } from "../trust/verdict.ts";
import { firstMissing } from "./blobs.ts";
import { Dossier, type Policies, type Reading, readPolicies } from "./dossier.ts";
import type { Store } from "./store.ts";

/** What judging needs of a store. */
export type Judging = Reading &
  Pick<Store, "memoryFacts" | "noteTime"> & { readonly ports: Pick<Store["ports"], "clock"> };

/** Judges a name as it stands at `head`. */
export async function judge(store: Judging, head: HeadView, name: Name, policies?: Policies): Promise<Verdict> {
  const chainOf = policies ?? (await readPolicies(store, head));
  return judgeWith(store, head, chainOf, name, new Dossier(store, head, chainOf, name));
}

async function judgeWith(
  store: Judging,
  head: HeadView,
  policies: Policies,
  name: Name,
  dossier: Dossier,
): Promise<Verdict> {
  return judgeChain(store, head, policies, name, dossier, await dossier.chain(), false);
}

/**
 * Judges what would stand if `candidate` became the name's only head.
 * @param dossier - of the same name at the same head, with what it has read already
 */
export async function judgeCandidate(
  store: Judging,
  head: HeadView,
  policies: Policies,
  name: Name,
  candidate: Member,
  dossier: Dossier = new Dossier(store, head, policies, name),
): Promise<Verdict> {
  return judgeChain(store, head, policies, name, dossier, [candidate], true);
}

async function judgeChain(
  store: Judging,
  head: HeadView,
  policies: Policies,
  name: Name,
  dossier: Dossier,
  chain: readonly Member[],
  candidate: boolean,
): Promise<Verdict> {
  const verdict = evaluate(await gather(store, head, policies, name, dossier, chain, candidate));
  if (head.past === true) return asOf(head, verdict);
  await noteIssued(store, verdict, chain);
  return withMissing(store, verdict, dossier);
}

/** What lacks its bytes cannot have been inspected here: that is told before the evidence that nobody could make. */
async function withMissing(store: Judging, verdict: Verdict, dossier: Dossier): Promise<Verdict> {
  const lacking = verdict.reasons.find(({ code }) => code === "EVIDENCE_MISSING");
  if (lacking === undefined || verdict.manifest === undefined) return verdict;
  const file = await firstMissing(store, (await dossier.manifest(verdict.manifest)).value);
  if (file === undefined) return verdict;
  const bytes = `blob ${short(file.sha256)} (${file.path}) has not come yet: import a bundle that carries it`;
  const told = { code: "BLOB_MISSING", text: `${bytes}; until then, ${lacking.text}` } as const;
  return { ...verdict, reasons: verdict.reasons.map((reason) => (reason === lacking ? told : reason)) };
}

/** Only a statement whose signatures were found good may say what time it cannot be before. */
export async function noteIssued(store: Judging, verdict: Verdict, chain: readonly Member[]): Promise<void> {
  const deciding = chain.find((member) => member.id === verdict.statement);
  if (verdict.trusted && deciding !== undefined) await store.noteTime(timeSeconds(deciding.value.issuedAt));
}

/** All that `evaluate` is to judge of `chain`. */
export async function gather(
  store: Judging,
  head: HeadView,
  policies: Policies,
  name: Name,
  dossier: Dossier,
  chain: readonly Member[],
  candidate: boolean,
): Promise<EvaluateInput> {
  const waiting = await dossier.waiting();
  return {
    name,
    policies,
    storeKey: store.storeKey.keyId,
    chain,
    waiting,
    candidate,
    ...(await dossier.about([...chain, ...waiting])),
    log: { number: head.number, id: head.id },
    ...(head.past === true
      ? { memory: { known: true }, nowS: timeSeconds(head.time) }
      : { memory: store.memoryFacts(), nowS: store.ports.clock() }),
  };
}

/** A past verdict is no older copy of the store, but one that knows nothing of what came later, and time changes it no more. */
function asOf(head: HeadView, { validUntil: _, ...verdict }: Verdict): Verdict {
  const later = { id: "later", text: `anything after log entry ${head.number} of ${head.time}` };
  return {
    ...verdict,
    established: verdict.established.filter(({ id }) => id !== "memory"),
    notEstablished: [...verdict.notEstablished, later],
  };
}

export interface Answer {
  readonly verdict: Verdict;
  /** Exactly when the verdict is yes. */
  readonly manifest?: Stored<Manifest>;
  /** Exactly when it is no: the error that says why. */
  readonly refusal?: CofferError;
}

/**
 * The verdict on a name, yes or no.
 * @param at - a past state, for an answer about that time and no other
 * @throws CofferError CORRUPT, IO_ERROR - it could not be judged
 */
export async function answer(store: Store, name: Name, at?: HeadView): Promise<Answer> {
  const head = at ?? (await store.head());
  const policies = await readPolicies(store, head);
  const dossier = new Dossier(store, head, policies, name);
  const verdict = await judgeWith(store, head, policies, name, dossier);
  if (!verdict.trusted || verdict.manifest === undefined)
    return { verdict, refusal: await refusal(head, name, verdict) };
  return { verdict, manifest: await dossier.manifest(verdict.manifest) };
}

export interface Resolved {
  readonly verdict: Verdict;
  readonly manifest: Stored<Manifest>;
}

/**
 * The verdict and the manifest of a name that is trusted now.
 * @throws CofferError NAME_NOT_FOUND if nothing is known by that name, else the first reason of the verdict
 */
export async function resolve(store: Store, name: Name): Promise<Resolved> {
  const { verdict, manifest, refusal } = await answer(store, name);
  if (manifest === undefined) throw refusal;
  return { verdict, manifest };
}

/** What can be said of a name of which there are only promotions that cannot be judged yet. */
export function setAsideText({ reasons, notEstablished }: Verdict): string | undefined {
  if (reasons[0]?.code !== "NOT_TRUSTED") return undefined;
  return notEstablished.find(({ id }) => id === "set-aside")?.text;
}

/** The error that says why a verdict is no. */
export async function refusal(head: HeadView, name: Name, verdict: Verdict): Promise<CofferError> {
  const [first, ...others] = verdict.reasons;
  /* c8 ignore next: for the types alone; only a fault of this program leads here */
  if (first === undefined) throw new CofferError("INTERNAL", "a refusal without a reason");
  if (first.code === "NOT_TRUSTED") {
    for (const family of ["proposed", "quarantined", "acquired"] as const) {
      if ((await head.readRef(nameRef(family, name))) !== undefined) {
        return new CofferError("NOT_TRUSTED", `${name.text} is ${family}, and was never promoted`);
      }
    }
    const aside = setAsideText(verdict);
    if (aside !== undefined) return new CofferError("NOT_TRUSTED", `${name.text} is not trusted: ${aside}`);
    return new CofferError("NAME_NOT_FOUND", `nothing is known by the name ${name.text}`);
  }
  return new CofferError(first.code, `${name.text} is not trusted: ${first.text}`, {
    details: others.map((reason) => `${reason.text} [${reason.code}]`),
  });
}
