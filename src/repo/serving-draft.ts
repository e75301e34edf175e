// SPDX-License-Identifier: Apache-2.0
/**
 * What an offer is put together from, kept between two of them: each name's verdict with what it brings, each ref that denies.
 * A new head costs what it moved: whatever was worked out is kept with the refs that it rests on, and the difference of two
 * trees says which of these moved. Layer: repo. Holds invariant 4. Writes nothing.
 *
 * Kept is only what judging and reading anew would give: not past a verdict's time, not where the policy moved, and not for
 * longer than LONGEST_S unless its files look as they did. What could not be judged is not kept at all.
 */
import type { Digest } from "../base/digest.ts";
import { passOthers } from "../base/errors.ts";
import { type Name, type NameText, parseName } from "../base/names.ts";
import { nameRef, POLICY_REF, parseRefPath, type RefPath } from "../base/ref-path.ts";
import { timeSeconds } from "../base/time.ts";
import { blobPath } from "../objects/layout.ts";
import { openObjects } from "../objects/object-store.ts";
import type { HeadView } from "../refs/head-view.ts";
import { EMPTY_TREE } from "../refs/ref-node.ts";
import type { Breathe, Parts } from "../sync/plan.ts";
import { type DenialPart, mayDeny, PartReader, type PolicyPart, readPolicyPart } from "../sync/plan-parts.ts";
import { type SnapshotPart, snapshotPart } from "../sync/snapshot.ts";
import { type Policies, readPolicies } from "./dossier.ts";
import { type Judging, judge } from "./resolve.ts";
import { Notes, sameFiles } from "./serving-notes.ts";
import { clockOf, isInTime, type Span } from "./serving-time.ts";
import type { Store } from "./store.ts";

/** Signature files that are lost, or come without an entry of the log, must be noticed. */
const LONGEST_S = 600;
/** Blobs are asked for by themselves: candidates and bytes that wait are offered to nobody. */
const PARTS = { candidates: false, blobs: "none" } as const;

/** The files that something was read from, and when they were last looked at. */
interface Reading {
  readonly files: string;
  atS: number;
}

interface Known extends Span {
  /** undefined: never trusted, so nobody hears of it. */
  readonly part?: SnapshotPart;
  readonly refs: readonly RefPath[];
  readonly reading: Reading;
}

interface Denying {
  readonly id: Digest;
  /** undefined: to be read. What was read together has one reading. */
  readonly known?: { readonly part: DenialPart; readonly reading: Reading };
}

interface Law {
  readonly policies: Policies;
  readonly part: PolicyPart;
  readonly reading: Reading;
}

/** Its time ends when something in it can change by time alone, or its files have to be looked at again. */
export interface Draft extends Parts, Span {
  readonly names: readonly SnapshotPart[];
}

export class ServingDraft {
  readonly #store: Store;
  readonly #breathe: Breathe;
  /** Of the ref tree, up to which moves are marked. */
  #root: Digest = EMPTY_TREE.id;
  #law: Law | undefined;
  readonly #denying = new Map<RefPath, Denying>();
  readonly #names = new Map<NameText, Known>();
  /** To be judged: their refs moved, or what they rest on did. */
  readonly #due = new Set<NameText>();
  /** Most refs concern one name. */
  readonly #restingOn = new Map<RefPath, NameText | Set<NameText>>();
  #read = 0;

  constructor(store: Store, breathe: Breathe) {
    this.#store = store;
    this.#breathe = breathe;
  }

  /** How often a name was judged and read. */
  get reads(): number {
    return this.#read;
  }

  /** Names that are known, and of how many. */
  get progress(): { readonly done: number; readonly of: number } {
    return { done: this.#names.size, of: this.#names.size + this.#due.size };
  }

  /**
   * Brings all to `head`, and to now. What it fails at is tried again with the next call.
   * @throws CofferError CORRUPT - a denial, the policy or the ref tree is damaged; UNSUPPORTED, IO_ERROR
   */
  async follow(head: HeadView): Promise<Draft> {
    await this.#mark(head);
    const law = await this.#readLaw(head);
    await this.#readDenials(head, law);
    for (const name of this.#due) if (this.#names.has(name)) this.#forget(name);
    await this.#markOld();
    for (const text of [...this.#due].sort()) {
      await this.#breathe();
      await this.#look(head, law, parseName(text));
    }
    return this.#draft(law);
  }

  /** Notes what the moves to `head` touch. Cut short, it is done once more from where it began. */
  async #mark(head: HeadView): Promise<void> {
    const signed = new Set<Digest>();
    for await (const { ref, to } of this.#store.moves(this.#root, head)) {
      await this.#breathe();
      const parsed = parseRefPath(ref);
      if (ref === POLICY_REF) this.#markAll();
      if (parsed.family === "trusted" || parsed.family === "chain") this.#due.add(parsed.name.text);
      if (parsed.family === "signers") signed.add(parsed.digest);
      for (const name of this.#namesOn(ref)) this.#due.add(name);
      if (to === undefined) this.#denying.delete(ref);
      else if (mayDeny(ref)) this.#denying.set(ref, { id: to });
    }
    if (signed.size > 0) this.#markSigned(signed);
    this.#root = head.root;
  }

  /** One more signature may make a denial reach further, and moves no ref that it stands under. */
  #markSigned(signed: ReadonlySet<Digest>): void {
    for (const [ref, { id, known }] of this.#denying) {
      const { denials = [], refusals = [] } = known?.part ?? {};
      if ([...denials, ...refusals].some(([one]) => signed.has(one))) this.#denying.set(ref, { id });
    }
  }

  /** Another policy: every verdict may be another, and other people's signatures travel. */
  #markAll(): void {
    this.#law = undefined;
    for (const name of this.#names.keys()) this.#due.add(name);
    for (const [ref, { id }] of this.#denying) this.#denying.set(ref, { id });
  }

  async #readLaw(head: HeadView): Promise<Law> {
    if (this.#law !== undefined && !(await this.#isFresh(this.#law.reading))) this.#markAll();
    if (this.#law !== undefined) return this.#law;
    const [notes, atS] = [new Notes(), this.#nowS()];
    const { objects, files, storeKey } = this.#noted(notes);
    const part = await readPolicyPart({ files, objects, storeKey }, head);
    const policies = await readPolicies(this.#store, head);
    this.#law = { policies, part, reading: { files: notes.seenFiles(), atS } };
    return this.#law;
  }

  async #readDenials(head: HeadView, law: Law): Promise<void> {
    const stale = new Set<Reading>();
    for (const reading of new Set([...this.#denying.values()].flatMap(({ known }) => known?.reading ?? []))) {
      if (!(await this.#isFresh(reading))) stale.add(reading);
    }
    const [notes, atS] = [new Notes(), this.#nowS()];
    const reader = new PartReader(this.#noted(notes), head, PARTS, law.part.keys);
    const read = new Map<RefPath, { readonly id: Digest; readonly part: DenialPart }>();
    for (const [ref, { id, known }] of this.#denying) {
      if (known !== undefined && !stale.has(known.reading)) continue;
      await this.#breathe();
      read.set(ref, { id, part: await reader.denialPart(ref, id) });
    }
    const reading = { files: notes.seenFiles(), atS };
    for (const [ref, { id, part }] of read) this.#denying.set(ref, { id, known: { part, reading } });
  }

  /** Names that time may have changed, and those whose files changed without the log's knowing. */
  async #markOld(): Promise<void> {
    for (const [name, known] of this.#names) {
      if (isInTime(known, clockOf(this.#store)) && (await this.#isFresh(known.reading))) continue;
      this.#forget(name);
      this.#due.add(name);
    }
  }

  /** True if it was read not long ago, or from files that look as they did. */
  async #isFresh(reading: Reading): Promise<boolean> {
    const nowS = this.#nowS();
    if (reading.atS <= nowS && nowS < reading.atS + LONGEST_S) return true;
    await this.#breathe();
    if (!(await sameFiles(this.#store.files, reading.files, this.#breathe))) return false;
    reading.atS = nowS;
    return true;
  }

  #nowS(): number {
    return this.#store.ports.clock();
  }

  async #look(head: HeadView, law: Law, name: Name): Promise<void> {
    const isPromoted = (await head.readRef(nameRef("trusted", name))) ?? (await head.readRef(nameRef("chain", name)));
    const known = isPromoted && (await this.#judge(head, law, name));
    if (known === "damaged") return; // stays due
    this.#due.delete(name.text);
    if (known === undefined) return;
    this.#names.set(name.text, known);
    for (const ref of known.refs) {
      const others = this.#restingOn.get(ref);
      if (others === undefined) this.#restingOn.set(ref, name.text);
      else if (typeof others === "object") others.add(name.text);
      else this.#restingOn.set(ref, new Set([others, name.text]));
    }
  }

  #namesOn(ref: RefPath): ReadonlySet<NameText> {
    const found = this.#restingOn.get(ref);
    return typeof found === "object" ? found : new Set(found === undefined ? [] : [found]);
  }

  /** "damaged" where something keeps it from being judged: such a name is on no page either. */
  async #judge(head: HeadView, { policies, part }: Law, name: Name): Promise<Known | "damaged"> {
    this.#read += 1;
    const from = clockOf(this.#store);
    const notes = new Notes();
    const [view, judging] = [notes.head(head), this.#noted(notes)];
    try {
      const verdict = await judge(judging, view, name, policies);
      if (verdict.reasons[0]?.code === "CORRUPT") return "damaged";
      const reader = new PartReader(judging, view, PARTS, part.keys);
      // What lies in the trash alone is not handed out.
      const without = async (blob: Digest, sizeBytes: number): Promise<boolean> =>
        (await judging.files.stat(blobPath(blob)))?.sizeBytes !== sizeBytes;
      const offered = verdict.everTrusted
        ? { part: await snapshotPart(judging, reader, name, verdict.trusted ? without : undefined) }
        : {};
      const untilS = verdict.validUntil === undefined ? Number.POSITIVE_INFINITY : timeSeconds(verdict.validUntil);
      const reading = { files: notes.seenFiles(), atS: from.nowS };
      return { ...offered, refs: [...notes.refs], reading, from, untilS };
    } catch (error) {
      passOthers(error, "CORRUPT");
      return "damaged";
    }
  }

  /** What judging and reading need of the store, with notes of every file. */
  #noted(notes: Notes): Judging {
    const { storeKey, pin, ports } = this.#store;
    const files = notes.files(this.#store.files);
    const stored = openObjects(files);
    const read = async (id: Digest): Promise<Uint8Array | undefined> => {
      await this.#breathe();
      return stored.read(id);
    };
    return {
      ...{ files, objects: { read }, storeKey, pin, ports },
      memoryFacts: () => this.#store.memoryFacts(),
      noteTime: (seconds) => this.#store.noteTime(seconds),
    };
  }

  #forget(name: NameText): void {
    for (const ref of this.#names.get(name)?.refs ?? []) {
      const names = this.#restingOn.get(ref);
      if (typeof names === "object") names.delete(name);
      if (typeof names !== "object" || names.size === 0) this.#restingOn.delete(ref);
    }
    this.#names.delete(name);
  }

  /** Whatever ran out while others were read is left out, and the draft is out of date. */
  #draft({ part, reading }: Law): Draft {
    const names: SnapshotPart[] = [];
    const clock = clockOf(this.#store);
    let untilS = reading.atS + LONGEST_S;
    for (const text of [...this.#names.keys()].sort()) {
      const known = this.#names.get(text);
      if (known === undefined) continue;
      const isNow = isInTime(known, clock);
      untilS = Math.min(untilS, isNow ? known.untilS : 0, known.reading.atS + LONGEST_S);
      if (known.part !== undefined && isNow) names.push(known.part);
    }
    const denials: DenialPart[] = [];
    for (const { known } of this.#denying.values()) {
      if (known === undefined) continue;
      denials.push(known.part);
      untilS = Math.min(untilS, known.reading.atS + LONGEST_S);
    }
    return { policies: part, denials, names, from: clock, untilS };
  }
}
