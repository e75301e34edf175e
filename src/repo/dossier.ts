// SPDX-License-Identifier: Apache-2.0
/**
 * Gathers what `evaluate` is to judge: reads documents and checks signatures, decides nothing.
 * What the tree names but is missing, or has lost its signatures, ends here or there as CORRUPT. Layer: repo.
 */
import type { Digest } from "../base/digest.ts";
import { short } from "../base/digest.ts";
import { CofferError, passOthers } from "../base/errors.ts";
import type { Label, Name } from "../base/names.ts";
import {
  evidenceRef,
  nameRef,
  POLICY_REF,
  type RevokedKind,
  refusedRef,
  revokedRef,
  signersRef,
} from "../base/ref-path.ts";
import type { KeyId, PublicKey } from "../keys/public-key.ts";
import type { SignatureNamespace } from "../keys/sshsig.ts";
import { type Evidence, parseEvidence } from "../objects/documents/evidence.ts";
import { parseList } from "../objects/documents/list.ts";
import { type Manifest, parseManifest } from "../objects/documents/manifest.ts";
import { type Policy, parsePolicy, type Rule } from "../objects/documents/policy.ts";
import { parseRefusal, type Refusal } from "../objects/documents/refusal.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { parseStatement, type Statement } from "../objects/documents/statement.ts";
import type { Files } from "../objects/files.ts";
import { type ObjectReader, readObject } from "../objects/object-store.ts";
import { signersOf } from "../objects/signatures.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { EvaluateInput, Member, Signed } from "../trust/evaluate.ts";
import type { SignedEvidence } from "../trust/evidence.ts";
import type { ByteRevocation } from "../trust/revocation.ts";
import { keysOf, ruleFor } from "../trust/roles.ts";

/** What reading needs of a store. */
export interface Reading {
  readonly files: Files;
  readonly objects: ObjectReader;
  readonly storeKey: PublicKey;
  /** Id of the policy version 1 that the store was made with. */
  readonly pin: Digest;
}

export type Policies = EvaluateInput["policies"];

/** The last chain that was read of each store, by the id of its list: parsing a policy costs more than a signature. */
const lastPolicies = new WeakMap<Reading, { readonly list: Digest; readonly policies: Policies }>();

/** The policy chain at a head: here one version, which must be the pinned one. @throws CofferError CORRUPT, UNSUPPORTED */
export async function readPolicies(reading: Reading, head: HeadView): Promise<Policies> {
  const list = await head.readRef(POLICY_REF);
  const last = lastPolicies.get(reading);
  if (last !== undefined && last.list === list) return last.policies;
  const policies = await readPolicyList(reading, list);
  if (list !== undefined) lastPolicies.set(reading, { list, policies });
  return policies;
}

async function readPolicyList(reading: Reading, list: Digest | undefined): Promise<Policies> {
  const ids = await readList(reading, list, "list of policies");
  const [id, ...others] = ids;
  if (id === undefined) throw new CofferError("CORRUPT", "the store has no policy");
  if (others.length > 0) throw new CofferError("UNSUPPORTED", "the policy is forked; this version cannot judge that");
  if (id !== reading.pin) throw new CofferError("CORRUPT", "the policy is not the one that the store was made with");
  return [{ id, value: (await readObject(reading.objects, id, "policy", parsePolicy)).value }];
}

export function newestPolicy(policies: Policies): Policy {
  return newestVersion(policies).value;
}

/** As `newestPolicy`, with its id. */
export function newestVersion(policies: Policies): Policies[number] {
  const newest = policies.at(-1);
  if (newest === undefined) throw new CofferError("CORRUPT", "the store has no policy");
  return newest;
}

/** Ids of a list object; none when the ref is absent. @throws CofferError CORRUPT */
export async function readList(reading: Reading, id: Digest | undefined, what: string): Promise<readonly Digest[]> {
  if (id === undefined) return [];
  return (await readObject(reading.objects, id, what, parseList)).value.ids;
}

/**
 * Ids of a name's heads. One trusted head stands under refs/trusted, anything else is listed under refs/chain, so that
 * nothing is said twice. @throws CofferError CORRUPT - both are there
 */
export async function readHeadIds(reading: Reading, head: HeadView, name: Name): Promise<readonly Digest[]> {
  const trusted = await head.readRef(nameRef("trusted", name));
  const chain = await head.readRef(nameRef("chain", name));
  if (trusted === undefined) return readList(reading, chain, "chain");
  if (chain === undefined) return [trusted];
  throw new CofferError("CORRUPT", `${name.text}: expected a trusted head or a list of heads, found both`);
}

export async function readStatement(reading: Reading, id: Digest): Promise<Stored<Statement>> {
  return readObject(reading.objects, id, "statement", parseStatement);
}

/**
 * What a signed document names though nothing has checked that it is there: whoever signs may name any digest, so another
 * document that lies here under it is as if it were not here.
 * @throws CofferError CORRUPT - the bytes are not those of the digest
 */
export async function readNamed<T>(
  { objects }: Pick<Reading, "objects">,
  id: Digest,
  parse: (bytes: Uint8Array) => T,
): Promise<T | undefined> {
  const bytes = await objects.read(id);
  if (bytes === undefined) return undefined;
  try {
    return parse(bytes);
  } catch (error) {
    passOthers(error);
    return undefined;
  }
}

export async function readManifest(reading: Reading, id: Digest): Promise<Stored<Manifest>> {
  return readObject(reading.objects, id, "manifest", parseManifest);
}

interface PolicyRule {
  readonly policy: Policy;
  readonly rule: Rule;
}

/** The rule of a name in each version that has one. */
function rulesOf(policies: Policies, name: Name): PolicyRule[] {
  return policies.flatMap(({ value: policy }) => {
    const rule = ruleFor(policy, name);
    return rule === undefined ? [] : [{ policy, rule }];
  });
}

/** Reads for one name at one head; documents and signatures are read once each. */
export class Dossier {
  private readonly reading: Reading;
  private readonly head: HeadView;
  private readonly policies: Policies;
  private readonly name: Name;
  private readonly statements = new Map<Digest, Promise<Stored<Statement>>>();
  private readonly manifests = new Map<Digest, Promise<Stored<Manifest>>>();
  private readonly evidences = new Map<Digest, Promise<readonly SignedEvidence[]>>();
  private heads: Promise<readonly Member[]> | undefined;
  private ownRules: readonly PolicyRule[] | undefined;
  /** Of documents that are being signed: keys whose signatures will be stored with what is judged here. */
  private readonly taken = new Map<Digest, Set<KeyId>>();

  constructor(reading: Reading, head: HeadView, policies: Policies, name: Name) {
    this.reading = reading;
    this.head = head;
    this.policies = policies;
    this.name = name;
  }

  statement(id: Digest): Promise<Stored<Statement>> {
    return once(this.statements, id, () => readStatement(this.reading, id));
  }

  manifest(id: Digest): Promise<Stored<Manifest>> {
    return once(this.manifests, id, () => readManifest(this.reading, id));
  }

  /** Rules under which signatures about `of` may count: that name's own and the judged name's, in every version. */
  private rulesFor(of: Name): readonly PolicyRule[] {
    this.ownRules ??= rulesOf(this.policies, this.name);
    return of.text === this.name.text ? this.ownRules : [...rulesOf(this.policies, of), ...this.ownRules];
  }

  /** Takes a statement as here before it is stored. */
  takeStatement(statement: Stored<Statement>): void {
    this.statements.set(statement.id, Promise.resolve(statement));
  }

  /** Takes a signature as here before it is stored; it was just made, and checked. */
  takeSignature(object: Digest, { keyId }: PublicKey): void {
    this.taken.set(object, new Set([...(this.taken.get(object) ?? []), keyId]));
  }

  private async signers(
    object: Stored<unknown>,
    namespace: SignatureNamespace,
    of: Name,
    roles: (rule: Rule) => readonly Label[],
    more: readonly PublicKey[] = [],
  ): Promise<ReadonlySet<KeyId>> {
    const keys = [...this.rulesFor(of).flatMap(({ policy, rule }) => keysOf(policy, roles(rule))), ...more];
    const taken = this.taken.get(object.id) ?? new Set<KeyId>();
    const stored = keys.filter(({ keyId }) => !taken.has(keyId));
    const found = await signersOf(this.reading.files, object, namespace, stored);
    return new Set([...found, ...keys.map(({ keyId }) => keyId).filter((keyId) => taken.has(keyId))]);
  }

  /**
   * The keys that the tree says have signed `object`; each must still have. Of a denial a single lost signature could
   * change how far it reaches, so their loss is damage.
   */
  private async signersOnRecord(
    object: Stored<unknown>,
    namespace: SignatureNamespace,
    what: string,
  ): Promise<ReadonlySet<KeyId>> {
    const ids = await readList(this.reading, await this.head.readRef(signersRef(object.id)), "list of signers");
    const wanted = new Set<string>(ids);
    const keys = [this.reading.storeKey, ...this.everybody()].filter((key) => wanted.has(key.keyId));
    const found = await signersOf(this.reading.files, object, namespace, keys);
    if (ids.length === 0 || found.size < wanted.size) {
      throw new CofferError("CORRUPT", `${what} ${short(object.id)} has lost a signature`);
    }
    return found;
  }

  /** A denial that stands in the tree: with the signatures that the tree names, all of them. */
  private async denial(id: Digest): Promise<Member> {
    const member = await this.member(id);
    const stored = await this.statement(id);
    const signers = await this.signersOnRecord(stored, "coffer-statement", "statement");
    return { ...member, signers: new Set([...member.signers, ...signers]) };
  }

  private async committed(id: Digest): Promise<Member> {
    const { value } = await this.statement(id);
    return value.state === "trusted" ? this.member(id) : this.denial(id);
  }

  /** One that a statement follows; undefined if it is not here. */
  private async named(id: Digest): Promise<Stored<Statement> | undefined> {
    const found = (await this.statements.get(id)) ?? (await readNamed(this.reading, id, parseStatement));
    if (found !== undefined) this.statements.set(id, Promise.resolve(found));
    return found;
  }

  /** A statement that something names, with its signers and the statements before it. */
  async member(id: Digest): Promise<Member> {
    const stored = await this.statement(id);
    const previous: (Statement | undefined)[] = [];
    for (const parent of stored.value.previous) previous.push((await this.named(parent))?.value);
    const people = (rule: Rule): Label[] => [...(rule.approvers?.principals ?? []), ...rule.revokers.principals];
    const signers = await this.signers(stored, "coffer-statement", stored.value.name, people);
    return { id, value: stored.value, signers, previous };
  }

  /** Revokers who have signed a revocation that may not be stored yet. */
  signersOfNew(statement: Stored<Statement>): Promise<ReadonlySet<KeyId>> {
    return this.signers(statement, "coffer-statement", this.name, (rule) => rule.revokers.principals);
  }

  /** The heads of the name's chain. */
  chain(): Promise<readonly Member[]> {
    this.heads ??= this.readChain();
    return this.heads;
  }

  private async readChain(): Promise<readonly Member[]> {
    const ids = await readHeadIds(this.reading, this.head, this.name);
    return Promise.all(ids.map((id) => this.committed(id)));
  }

  /** Statements of the name that cannot be judged yet. */
  async waiting(): Promise<Member[]> {
    const ids = await readList(this.reading, await this.head.readRef(nameRef("waiting", this.name)), "list of waiting");
    return Promise.all(ids.map((id) => this.committed(id)));
  }

  private async signedManifest(id: Digest): Promise<Signed<Manifest>> {
    const stored = await this.manifest(id);
    const signers = await this.signers(stored, "coffer-manifest", this.name, (rule) => rule.publishers ?? []);
    return { id, value: stored.value, signers };
  }

  private everybody(): PublicKey[] {
    return this.policies.flatMap(({ value: policy }) => keysOf(policy, policy.principals.keys()));
  }

  evidence(manifest: Digest): Promise<readonly SignedEvidence[]> {
    return once(this.evidences, manifest, () => this.readEvidence(manifest));
  }

  private async readEvidence(manifest: Digest): Promise<readonly SignedEvidence[]> {
    const ids = await readList(this.reading, await this.head.readRef(evidenceRef(manifest)), "list of evidence");
    return Promise.all(
      ids.map(async (id) => {
        const stored = await readObject(this.reading.objects, id, "evidence", parseEvidence);
        return { id, value: stored.value, signers: await this.evidenceSigners(stored) };
      }),
    );
  }

  /** A fail that lost a signature must not stop blocking, so it needs all that the tree names. */
  private async evidenceSigners(stored: Stored<Evidence>): Promise<ReadonlySet<KeyId>> {
    if (stored.value.result === "fail") return this.signersOnRecord(stored, "coffer-evidence", "evidence");
    const named = (rule: Rule): Label[] => (rule.evidence ?? []).flatMap((need) => need.signers ?? []);
    return this.signers(stored, "coffer-evidence", this.name, named, [this.reading.storeKey]);
  }

  /** What was refused of a statement, each refusal with all the signatures that the tree names. */
  async refusals(statement: Digest): Promise<Signed<Refusal>[]> {
    const ids = await readList(this.reading, await this.head.readRef(refusedRef(statement)), "list of refusals");
    return Promise.all(
      ids.map(async (id) => {
        const stored = await readObject(this.reading.objects, id, "refusal", parseRefusal);
        return { id, value: stored.value, signers: await this.signersOnRecord(stored, "coffer-refusal", "refusal") };
      }),
    );
  }

  private async revocationsOf(kind: RevokedKind, digest: Digest): Promise<ByteRevocation[]> {
    const ids = await readList(this.reading, await this.head.readRef(revokedRef(digest, kind)), "list of revocations");
    return Promise.all(ids.map(async (id) => ({ kind, digest, statement: await this.denial(id) })));
  }

  /** Everything on record that concerns `chain`. */
  async about(
    chain: readonly Member[],
  ): Promise<Pick<EvaluateInput, "manifests" | "evidence" | "revocations" | "refusals">> {
    const manifests = new Map<Digest, Signed<Manifest>>();
    const evidence: SignedEvidence[] = [];
    const revocations: ByteRevocation[] = [];
    const refusals: Signed<Refusal>[] = [];
    const trusted = chain.filter((member) => member.value.state === "trusted");
    for (const id of new Set(trusted.map((member) => member.value.manifest))) {
      const manifest = await this.signedManifest(id);
      manifests.set(id, manifest);
      evidence.push(...(await this.evidence(id)));
      revocations.push(...(await this.revocationsOf("manifest", id)));
      for (const blob of new Set(manifest.value.files.map((file) => file.sha256))) {
        revocations.push(...(await this.revocationsOf("blob", blob)));
      }
    }
    for (const { id } of trusted) {
      revocations.push(...(await this.revocationsOf("statement", id)));
      refusals.push(...(await this.refusals(id)));
    }
    return { manifests, evidence, revocations, refusals };
  }
}

function once<T>(made: Map<Digest, Promise<T>>, id: Digest, make: () => Promise<T>): Promise<T> {
  const found = made.get(id) ?? make();
  made.set(id, found);
  return found;
}
