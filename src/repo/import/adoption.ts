// SPDX-License-Identifier: Apache-2.0
/**
 * What comes from a store with the same policy root: statements count on their own merits, whoever sends them.
 * Layer: repo. Denials are in by then (denials.ts). Holds invariants 1, 4 and 5.
 */
import { type Digest, short } from "../../base/digest.ts";
import { isCofferError } from "../../base/errors.ts";
import { type Name, type NameText, parseName } from "../../base/names.ts";
import { evidenceRef, nameRef, remoteRef, signersRef } from "../../base/ref-path.ts";
import type { KeyId, PublicKey } from "../../keys/public-key.ts";
import { signSshsig } from "../../keys/sshsig.ts";
import type { Manifest } from "../../objects/documents/manifest.ts";
import type { Stored } from "../../objects/documents/schema.ts";
import type { Statement } from "../../objects/documents/statement.ts";
import { signersOf } from "../../objects/signatures.ts";
import type { HeadView } from "../../refs/head-view.ts";
import type { BundleIndex } from "../../sync/bundle-index.ts";
import { whyUnauthorised } from "../../trust/authorised.ts";
import { type Policies, readHeadIds } from "../dossier.ts";
import { inspectionEvidence, isInspected, type ownEvidence } from "../inspection.ts";
import type { Store } from "../store.ts";
import { type Applied, applyChanges, type Change } from "./apply.ts";
import type { Arrivals, GoodSignature } from "./arrivals.ts";
import type { Blobs } from "./blobs.ts";
import { standingWith } from "./chain.ts";
import { asIds, everybodyIn, signersIn, Unions } from "./denials.ts";
import type { Upstream } from "./upstream.ts";
import { unauthorisedText } from "./words.ts";
import type { Writer } from "./writer.ts";

/** What all parts of one import share. */
export interface Work {
  readonly store: Store;
  readonly index: Stored<BundleIndex>;
  readonly policies: Policies;
  readonly arrivals: Arrivals;
  readonly blobs: Blobs;
  readonly writer: Writer;
  /** Statements that revoke or delete and were found to be authorised. */
  readonly denials: ReadonlySet<Digest>;
  /** Another bundle of that store, a newer one, came together with this one, and before it. */
  readonly besideNewer: boolean;
  /** Of another root: what the other bundles from there deny that came together with this one. */
  readonly beside: Upstream | undefined;
  /** The head on which this import decides, its denials included. */
  readonly before: HeadView;
  readonly notes: Set<string>;
  /** Names that were refused, each with why. */
  readonly refusedNames: Map<
    string,
    { readonly code: ReturnType<typeof unauthorisedText>["code"]; readonly text: string }
  >;
  /** Of these, names of which that was known before: there is nothing new to it. */
  readonly old: Set<string>;
  /** The first thing that was found against each manifest that failed inspection. */
  readonly failed: Map<Digest, string>;
  readonly note: string;
  readonly most?: number | undefined;
}

interface NameIn {
  readonly name: Name;
  readonly ids: Digest[];
}

interface Candidate {
  readonly name: Name;
  readonly statement: Stored<Statement>;
}

export class Adoption {
  readonly #work: Work;
  readonly #names = new Map<string, NameIn>();
  readonly #candidates: Candidate[] = [];
  readonly #unions = new Unions();
  /** Manifests that are to be looked into once all their bytes are here, each with a name that it came by. */
  readonly #models = new Map<Digest, Name>();

  constructor(work: Work) {
    this.#work = work;
  }

  /** Decides what of the small things counts, stores that, and asks for its blobs. */
  async prepare(head: HeadView): Promise<void> {
    const { arrivals, index, writer, denials } = this.#work;
    const open = new Map(index.value.candidates.map(({ name, statement }) => [statement, name]));
    for (const id of arrivals.idsOf("coffer/statement")) {
      const statement = await arrivals.document("coffer/statement", id);
      if (statement === undefined) continue;
      if (denials.has(id)) this.#nameOf(statement.value.name).ids.push(id);
      else if (statement.value.state === "trusted") await this.#takePromotion(statement, open.get(id));
    }
    await this.#takeEvidence();
    await writer.flush();
    await this.#askForBlobs(head);
  }

  #nameOf(name: Name): NameIn {
    const known = this.#names.get(name.text) ?? { name, ids: [] };
    this.#names.set(name.text, known);
    return known;
  }

  async #takePromotion(statement: Stored<Statement>, candidateFor: NameText | undefined): Promise<void> {
    const { store, policies, arrivals, blobs, refusedNames } = this.#work;
    const { name } = statement.value;
    const manifest = await blobs.manifest(statement.value.manifest);
    if (manifest === undefined) {
      const text = `statement ${short(statement.id)} came without its manifest ${short(statement.value.manifest)}`;
      refusedNames.set(name.text, { code: "OBJECT_NOT_FOUND", text });
      return;
    }
    const good = {
      statement: await arrivals.signatures("coffer/statement", statement),
      manifest: await arrivals.signatures("coffer/manifest", manifest),
    };
    if (candidateFor !== undefined) {
      await this.#takeCandidate(statement, manifest, good, candidateFor);
      return;
    }
    const everybody = everybodyIn(policies);
    const sets = [signersIn(good.statement, everybody), signersIn(good.manifest, everybody)] as const;
    let why = whyUnauthorised(policies, { ...statement, signers: sets[0] }, sets[1]);
    if (why !== undefined) {
      // Some may have come before, and lie here.
      for (const keyId of await signersOf(store.files, statement, "coffer-statement", everybody)) sets[0].add(keyId);
      for (const keyId of await signersOf(store.files, manifest, "coffer-manifest", everybody)) sets[1].add(keyId);
      why = whyUnauthorised(policies, { ...statement, signers: sets[0] }, sets[1]);
    }
    if (why !== undefined) {
      refusedNames.set(name.text, unauthorisedText(statement, why));
      return;
    }
    await this.#keep(statement, manifest, good);
    this.#nameOf(name).ids.push(statement.id);
  }

  async #keep(
    statement: Stored<Statement>,
    manifest: Stored<Manifest>,
    good: { readonly statement: readonly GoodSignature[]; readonly manifest: readonly GoodSignature[] },
  ): Promise<void> {
    const { writer, blobs } = this.#work;
    await writer.addSigned(statement, "coffer-statement", good.statement);
    await writer.addSigned(manifest, "coffer-manifest", good.manifest);
    await blobs.keepChunkLists(manifest.value);
  }

  /** It grants nothing, so what it still lacks is no reason to leave it out. */
  async #takeCandidate(
    statement: Stored<Statement>,
    manifest: Stored<Manifest>,
    good: { readonly statement: readonly GoodSignature[]; readonly manifest: readonly GoodSignature[] },
    told: NameText,
  ): Promise<void> {
    const { policies, refusedNames } = this.#work;
    const { name, root, policy } = statement.value;
    if (name.text !== told || policies.every(({ id, value }) => value.root !== root || id !== policy)) {
      refusedNames.set(told, {
        code: "UNSUPPORTED",
        text: `candidate ${short(statement.id)} is for another name or policy`,
      });
      return;
    }
    await this.#keep(statement, manifest, good);
    this.#candidates.push({ name, statement });
  }

  /** Evidence of people of the policy goes on record; that of another store's key is kept, and counts for nothing. */
  async #takeEvidence(): Promise<void> {
    const { store, policies, arrivals, writer, index } = this.#work;
    const counted = [store.storeKey, ...everybodyIn(policies)];
    const kept: Digest[] = [];
    for (const id of arrivals.idsOf("coffer/evidence")) {
      const evidence = await arrivals.document("coffer/evidence", id);
      if (evidence === undefined) continue;
      const good = await arrivals.signatures("coffer/evidence", evidence);
      if (good.length === 0) continue; // signed by nobody who is known
      await writer.addSigned(evidence, "coffer-evidence", good);
      const signers = signersIn(good, counted);
      if (signers.size === 0) {
        kept.push(id);
        continue;
      }
      this.#record(evidence.value.manifest, id, evidence.value.result === "fail" ? signers : new Set());
    }
    this.#unions.add(remoteRef(index.value.store, "kept"), kept);
  }

  #record(manifest: Digest, evidence: Digest, blockers: ReadonlySet<KeyId>): void {
    this.#unions.add(evidenceRef(manifest), [evidence]);
    this.#unions.add(signersRef(evidence), asIds(blockers));
  }

  /** Of what will stand, and of what is proposed: nobody resolves an older version. */
  async #askForBlobs(head: HeadView): Promise<void> {
    const { store, policies } = this.#work;
    for (const { name, ids } of this.#names.values()) {
      try {
        const { heads } = await standingWith(store, head, policies, name, ids);
        for (const { value } of heads) if (value.state === "trusted") await this.#askFor(value.manifest, name);
      } catch (error) {
        if (!isCofferError(error, "CORRUPT")) throw error; // told when it is to be moved
      }
    }
    for (const { name, statement } of this.#candidates) await this.#askFor(statement.value.manifest, name);
    for (const { name, manifest, state } of this.#work.index.value.names) {
      if (state !== "quarantined" || manifest === undefined) continue;
      await this.#askFor(manifest, parseName(name), false);
    }
  }

  async #askFor(id: Digest, name: Name, publish = true): Promise<void> {
    const { blobs, writer } = this.#work;
    const manifest = await blobs.manifest(id);
    if (manifest === undefined) return;
    if (!publish) {
      await writer.add(manifest);
      await blobs.keepChunkLists(manifest.value);
    }
    this.#models.set(id, name);
    await blobs.want(manifest, publish);
  }

  /** Moves the refs, once what could come has come. */
  async finish(more: readonly Change[]): Promise<Applied> {
    const { store, blobs, writer, note, most, index } = this.#work;
    await blobs.completeAll();
    const passed = await this.#inspectAll();
    const landing = index.value.names.flatMap(({ name, manifest, state }): Change[] => {
      const isIn = state === "quarantined" && manifest !== undefined && passed.has(manifest);
      return isIn ? [quarantineChange(store, parseName(name), manifest)] : [];
    });
    await writer.flush();
    const names = [...this.#names.values()].map((entry): Change => ({ kind: "statements", ...entry }));
    const changes = [...names, ...this.#unions.changes(), ...landing, ...more];
    const applied = await applyChanges(store, changes, note, most);
    const proposed = await applyChanges(store, this.#proposals(), note, most);
    await writer.confirm();
    await blobs.confirm();
    const set = new Set([...applied.set, ...proposed.set]);
    return { ...applied, set, entries: [...applied.entries, ...proposed.entries] };
  }

  /** This store's own inspection of all that came whole. @returns manifests that passed and whose blobs have their names */
  async #inspectAll(): Promise<ReadonlySet<Digest>> {
    const { store, blobs, refusedNames } = this.#work;
    const head = await store.head();
    const passed = new Set<Digest>();
    for (const [id, name] of this.#models) {
      const manifest = await blobs.manifest(id);
      if (manifest === undefined || !blobs.isWhole(manifest.value)) continue;
      try {
        if (await inspectOne(this.#work, head, name, manifest, this.#unions)) passed.add(id);
      } catch (error) {
        if (!isCofferError(error, "CORRUPT", "OBJECT_MISMATCH")) throw error;
        refusedNames.set(name.text, { code: error.code, text: error.message });
      }
    }
    return passed;
  }

  #proposals(): Change[] {
    const { store, notes } = this.#work;
    return this.#candidates.map(({ name, statement }): Change => {
      const ref = nameRef("proposed", name);
      return {
        ...{ kind: "set", ref, to: statement.id },
        when: async (head) => {
          const held = await head.readRef(ref);
          if (held === statement.id) return false;
          const heads = [...(await readHeadIds(store, head, name))].sort();
          const follows = statement.value.previous.join() === heads.join();
          if (held !== undefined)
            notes.add(`${name.text}: a candidate of this store stands; that of the other was left`);
          return held === undefined && follows;
        },
      };
    });
  }

  /** Names that statements came for. */
  get names(): readonly Name[] {
    return [...this.#names.values()].map(({ name }) => name);
  }
}

/**
 * Nothing that waits here is pushed aside.
 * @param instead - what waits and makes room for it
 */
export function quarantineChange(store: Store, name: Name, manifest: Digest, instead?: Digest): Change {
  const ref = nameRef("quarantined", name);
  return {
    ...{ kind: "set", ref, to: manifest },
    when: async (head) => {
      if ((await head.readRef(ref)) !== instead) return false;
      return (await readHeadIds(store, head, name)).length === 0;
    },
  };
}

/**
 * Looks into a model as `add` does and puts it on record.
 * @param record - "nothing of a fail": what failed is not stored, so there is nothing to be said of it
 * @returns true if it passed, now or before; its blobs have their names then
 */
export async function inspectOne(
  { store, blobs, writer, failed }: Work,
  head: HeadView,
  name: Name,
  manifest: Stored<Manifest>,
  unions: Unions,
  record: "all" | "nothing of a fail" = "all",
): Promise<boolean> {
  const publish = () => blobs.publish(new Set(manifest.value.files.map((file) => file.sha256)));
  if (await isInspected(store, head, name, manifest.id, "pass")) {
    await publish();
    return true;
  }
  if (await isInspected(store, head, name, manifest.id, "fail")) return false;
  const evidence = inspectionEvidence(manifest.id, await blobs.inspect(manifest.value, name), store.ports.clock());
  const against = evidence.value.findings.find(({ level }) => level === "fail");
  if (against !== undefined) failed.set(manifest.id, `${against.path ?? "(all files)"}: ${against.text}`);
  if (against === undefined || record === "all") await recordOwn({ store, writer }, evidence, unions);
  if (against !== undefined) return false;
  await publish();
  return true;
}

/** Signs evidence with the store key and plans its refs. */
export async function recordOwn(
  { store, writer }: { readonly store: Store; readonly writer: Writer },
  evidence: ReturnType<typeof ownEvidence>,
  unions: Unions,
): Promise<void> {
  const publicKey: PublicKey = store.storeKey;
  const armored = await signSshsig(await store.needSigner(), "coffer-evidence", evidence.bytes);
  await writer.addSigned(evidence, "coffer-evidence", [{ publicKey, armored }]);
  unions.add(evidenceRef(evidence.value.manifest), [evidence.id]);
  if (evidence.value.result === "fail") unions.add(signersRef(evidence.id), asIds([publicKey.keyId]));
}
