// SPDX-License-Identifier: Apache-2.0
/**
 * Verdicts for a server: each judged once however many ask, and judged again without reading where nothing that it
 * rests on has moved. Layer: repo. Every answer is one of `evaluate`, at the head and the time that were asked for.
 * Holds invariant 4: that nothing has moved is read from the newest head's ref tree, ref by ref.
 */
import type { Digest } from "../base/digest.ts";
import type { Name } from "../base/names.ts";
import { POLICY_REF, type RefPath } from "../base/ref-path.ts";
import { timeSeconds } from "../base/time.ts";
import type { HeadView } from "../refs/head-view.ts";
import { type EvaluateInput, evaluate } from "../trust/evaluate.ts";
import type { Verdict } from "../trust/verdict.ts";
import { Dossier, type Policies, readPolicies } from "./dossier.ts";
import { gather, noteIssued } from "./resolve.ts";
import { LeastRecent } from "./serving-cache.ts";
import { clockOf, isInTime, type Span } from "./serving-time.ts";
import type { Store } from "./store.ts";

/** What is kept, by weight: what was gathered for a name counts as so many files, besides those in its manifests. */
const BOUND = 200_000;
const NAME_WEIGHT = 50;
/** Nothing is kept longer: a verdict tells ages in days, and signature files that are lost must be noticed. */
const LONGEST_S = 600;
/** Policies are kept by the id of their list. */
const POLICIES = 2;

/** What was read for a verdict. */
interface Gathered {
  readonly input: EvaluateInput;
  /** Every ref that was looked up, with what it held. */
  readonly reads: ReadonlyMap<RefPath, Digest | undefined>;
  readonly atS: number;
}

interface Kept extends Gathered, Span {
  readonly head: HeadView;
  readonly verdict: Verdict;
}

export class ServingVerdicts {
  private readonly store: Store;
  private readonly kept = new LeastRecent<Kept>(BOUND, weightOf);
  private readonly running = new Map<string, Promise<Verdict>>();
  private readonly policies = new LeastRecent<Policies>(POLICIES);
  private gatheredCount = 0;

  constructor(store: Store) {
    this.store = store;
  }

  /** How often documents were read for a verdict. */
  get gathers(): number {
    return this.gatheredCount;
  }

  /** @throws CofferError CORRUPT, UNSUPPORTED, IO_ERROR - it could not be judged */
  async at(head: HeadView, name: Name): Promise<Verdict> {
    const kept = this.kept.get(name.text);
    if (kept?.head.id === head.id && isInTime(kept, clockOf(this.store))) return kept.verdict;
    const key = `${head.id} ${name.text}`;
    const running = this.running.get(key) ?? this.judge(head, name, kept).finally(() => this.running.delete(key));
    this.running.set(key, running);
    return running;
  }

  private async judge(head: HeadView, name: Name, before: Kept | undefined): Promise<Verdict> {
    const startS = this.store.ports.clock();
    const young = before !== undefined && before.atS <= startS && startS < before.atS + LONGEST_S;
    const found = young && (await holds(before, head)) ? before : await this.gather(head, name, startS);
    const from = clockOf(this.store);
    const log = { number: head.number, id: head.id };
    const verdict = evaluate({ ...found.input, log, nowS: from.nowS, memory: this.store.memoryFacts() });
    await noteIssued(this.store, verdict, found.input.chain);
    const turnS = verdict.validUntil === undefined ? Number.POSITIVE_INFINITY : timeSeconds(verdict.validUntil);
    const untilS = Math.min(turnS, found.atS + LONGEST_S);
    const { input, reads, atS } = found;
    this.kept.set(name.text, { input, reads, atS, head, verdict, from, untilS });
    return verdict;
  }

  private async gather(head: HeadView, name: Name, atS: number): Promise<Gathered> {
    this.gatheredCount += 1;
    const reads = new Map<RefPath, Digest | undefined>();
    const noting: HeadView = {
      ...head,
      async readRef(ref) {
        const id = await head.readRef(ref);
        reads.set(ref, id);
        return id;
      },
    };
    const policies = await this.policiesAt(noting);
    const dossier = new Dossier(this.store, noting, policies, name);
    const input = await gather(this.store, noting, policies, name, dossier, await dossier.chain(), false);
    return { input, reads, atS };
  }

  private async policiesAt(head: HeadView): Promise<Policies> {
    const list = await head.readRef(POLICY_REF);
    const kept = list && this.policies.get(list);
    if (kept !== undefined) return kept;
    const policies = await readPolicies(this.store, head);
    if (list !== undefined) this.policies.set(list, policies);
    return policies;
  }
}

function weightOf({ input }: Kept): number {
  let weight = NAME_WEIGHT;
  for (const { value } of input.manifests.values()) weight += value.files.length;
  return weight;
}

/** True if every ref that was looked up holds at `head` what it held then: the same would be gathered. */
async function holds({ reads }: Gathered, head: HeadView): Promise<boolean> {
  for (const [ref, id] of reads) if ((await head.readRef(ref)) !== id) return false;
  return true;
}
