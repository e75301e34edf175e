// SPDX-License-Identifier: Apache-2.0
/**
 * What the people of another policy root have said so far: all that came now, and all that was kept of any of their stores.
 * So it makes no difference in which order their bundles come. Layer: repo. It grants nothing here.
 * Not here: what follows from it (landing.ts).
 */
import { type Digest, short } from "../../base/digest.ts";
import type { ErrorCode } from "../../base/errors.ts";
import type { NameText } from "../../base/names.ts";
import { parseRefPath } from "../../base/ref-path.ts";
import type { KeyId } from "../../keys/public-key.ts";
import { type Manifest, parseManifest } from "../../objects/documents/manifest.ts";
import { parseRefusal, type Refusal } from "../../objects/documents/refusal.ts";
import type { Stored } from "../../objects/documents/schema.ts";
import { NOTHING_REVOKED, parseStatement, type Statement } from "../../objects/documents/statement.ts";
import type { HeadView } from "../../refs/head-view.ts";
import { whyUnauthorised } from "../../trust/authorised.ts";
import { withdrawnFrom, withdrawnText } from "../../trust/refusals.ts";
import { approvalUnder, ruleFor } from "../../trust/roles.ts";
import { type Policies, readList, readNamed } from "../dossier.ts";
import type { Store } from "../store.ts";
import { type Arrivals, kindOf } from "./arrivals.ts";
import { everybodyIn, type SignedKind, signaturesOver } from "./denials.ts";

/** Why their people would not use a model of theirs any more. */
export interface Against {
  readonly code: Extract<ErrorCode, "REVOKED" | "REFUSED">;
  readonly text: string;
  /** Statements and refusals that say so. */
  readonly by: readonly Digest[];
}

type Word =
  | { readonly kind: "statement"; readonly document: Stored<Statement> }
  | { readonly kind: "refusal"; readonly document: Stored<Refusal> }
  | { readonly kind: "manifest"; readonly document: Stored<Manifest> };

/** Of a statement, what its place in a chain is told by. */
type Said = Pick<Statement, "state" | "name" | "manifest" | "previous">;

type SignedRefusal = Stored<Refusal> & { readonly signers: ReadonlySet<KeyId> };

export class Upstream {
  readonly #store: Store;
  readonly #theirs: Policies;
  readonly #arrivals: Arrivals;
  /** Whoever signed them: what stands behind a statement of their people is as that one says. */
  readonly #statements = new Map<Digest, Said>();
  /** By the manifest that they are for; only those that their people signed. */
  readonly #promotions = new Map<Digest, Stored<Statement>[]>();
  readonly #publishers = new Map<Digest, ReadonlySet<KeyId>>();
  /** By the manifest, blob or statement that they name. */
  readonly #revocations = new Map<Digest, Stored<Statement>[]>();
  /** By the statement that they are about. */
  readonly #refusals = new Map<Digest, SignedRefusal[]>();
  /** What was kept of their stores before. */
  readonly kept: ReadonlySet<Digest>;
  /** Of these, the models that landed. */
  readonly landed = new Map<Digest, Stored<Manifest>>();

  /**
   * @param theirs - their policy
   * @param beside - of other bundles from their stores that came together with this one: what these deny
   * @throws CofferError CORRUPT
   */
  static async gather(
    store: Store,
    theirs: Policies,
    arrivals: Arrivals,
    head: HeadView,
    beside?: Upstream,
  ): Promise<Upstream> {
    const upstream = new Upstream(store, theirs, arrivals, await keptUnder(store, head, theirs));
    const ids = [...upstream.kept, ...arrivals.idsOf("coffer/statement"), ...arrivals.idsOf("coffer/refusal")];
    for (const id of [...new Set(ids)].sort()) {
      const word = (await arrivedWord(arrivals, id)) ?? (await readNamed(store, id, parseWord));
      if (word !== undefined) await upstream.#take(word);
    }
    if (beside !== undefined) {
      join(upstream.#revocations, beside.#revocations);
      join(upstream.#refusals, beside.#refusals);
    }
    return upstream;
  }

  private constructor(store: Store, theirs: Policies, arrivals: Arrivals, kept: ReadonlySet<Digest>) {
    this.#store = store;
    this.#theirs = theirs;
    this.#arrivals = arrivals;
    this.kept = kept;
  }

  async #take(word: Word): Promise<void> {
    if (word.kind === "manifest") this.landed.set(word.document.id, word.document);
    else if (word.kind === "refusal") {
      const signers = await this.#signers("coffer/refusal", word.document);
      push(this.#refusals, word.document.value.statement, { ...word.document, signers });
    } else await this.#takeStatement(word.document);
  }

  /** Whoever has their policy can write statements under it: what their people did not sign says nothing by itself. */
  async #takeStatement(statement: Stored<Statement>): Promise<void> {
    const { id, value } = statement;
    const { state, name, manifest, previous } = value;
    this.#statements.set(id, { state, name, manifest, previous });
    const signers = await this.#signers("coffer/statement", statement);
    if (signers.size === 0) return;
    const publishers = state === "trusted" ? await this.#publishersOf(manifest) : new Set<KeyId>();
    if (whyUnauthorised(this.#theirs, { ...statement, signers }, publishers) !== undefined) return;
    if (state === "trusted") push(this.#promotions, manifest, statement);
    if (state !== "revoked") return;
    const { manifests, blobs, statements } = value.revokes ?? NOTHING_REVOKED;
    for (const target of [...manifests, ...blobs, ...statements]) push(this.#revocations, target, statement);
  }

  /** Their people who signed a manifest, as far as it came or lies here. */
  async #publishersOf(id: Digest): Promise<ReadonlySet<KeyId>> {
    const known = this.#publishers.get(id);
    if (known !== undefined) return known;
    const arrived = await this.#arrivals.document("coffer/manifest", id);
    const manifest = arrived ?? (await readNamed(this.#store, id, parseManifest));
    const found = manifest === undefined ? new Set<KeyId>() : await this.#signers("coffer/manifest", manifest);
    this.#publishers.set(id, found);
    return found;
  }

  /** Of their people, whether the signatures came or lie here. */
  async #signers(kind: SignedKind, document: Stored<unknown>): Promise<ReadonlySet<KeyId>> {
    const everybody = everybodyIn(this.#theirs);
    return (await signaturesOver(this.#store, this.#arrivals, kind, document, everybody)).signers;
  }

  /** What is known against the bytes themselves, whoever promoted them; each once, sorted. */
  againstBytes({ id, value }: Stored<Manifest>): readonly Against[] {
    const targets = new Set([id, ...value.files.map(({ sha256 }) => sha256)]);
    const found = [...targets].flatMap((target) => this.#revocations.get(target) ?? []);
    return [...new Map(found.map((revocation) => [revocation.id, revocation]))]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, revocation]) => revokedBy(revocation));
  }

  /**
   * What is known against one of their promotions.
   * @param manifestSigners - keys whose signatures over its manifest were checked
   */
  async againstPromotion(
    statement: Stored<Statement>,
    manifestSigners: ReadonlySet<KeyId>,
  ): Promise<Against | undefined> {
    const [revocation] = this.#revocations.get(statement.id) ?? [];
    if (revocation !== undefined) return revokedBy(revocation);
    const refusals = this.#refusals.get(statement.id) ?? [];
    const [policy] = this.#theirs;
    const rule = policy && ruleFor(policy.value, statement.value.name);
    if (refusals.length === 0 || policy === undefined || rule === undefined) return undefined;
    const withdrawn = withdrawnFrom(policy.value, rule, statement.id, refusals);
    const signers = await this.#signers("coffer/statement", statement);
    if (approvalUnder(policy.value, rule, manifestSigners, signers, new Set(withdrawn.keys())).met) return undefined;
    const text = `statement ${short(statement.id)} was ${withdrawnText(withdrawn) ?? "refused"}, where it comes from`;
    return { code: "REFUSED", text, by: refusals.map(({ id }) => id) };
  }

  /** What is known against a model that landed: against its bytes, or against every promotion of it. */
  async againstLanded(manifest: Stored<Manifest>): Promise<readonly Against[]> {
    const bytes = this.againstBytes(manifest);
    if (bytes.length > 0) return bytes;
    const publishers = await this.#publishersOf(manifest.id);
    const found: Against[] = [];
    for (const promotion of this.#promotions.get(manifest.id) ?? []) {
      const against = await this.againstPromotion(promotion, publishers);
      if (against === undefined) return [];
      found.push(against);
    }
    return found;
  }

  /** Whether one of `heads` that their people signed comes after a promotion of `manifest` under that name. */
  follows(name: NameText, heads: readonly Digest[], manifest: Digest): boolean {
    const before = this.#ancestors(heads.filter((id) => this.#isPromotion(id)));
    return [...before].some((id) => {
      const said = this.#statements.get(id);
      return said?.state === "trusted" && said.name.text === name && said.manifest === manifest;
    });
  }

  #isPromotion(id: Digest): boolean {
    const manifest = this.#statements.get(id)?.manifest;
    return manifest !== undefined && this.#promotions.get(manifest)?.some((promotion) => promotion.id === id) === true;
  }

  /** Whether a promotion of `manifest` under that name comes after all of `heads`. */
  isFollowed(name: NameText, heads: readonly Digest[], manifest: Digest): boolean {
    const promotions = (this.#promotions.get(manifest) ?? []).filter(({ value }) => value.name.text === name);
    return promotions.some(({ id }) => {
      const before = this.#ancestors([id]);
      return heads.length > 0 && heads.every((head) => before.has(head));
    });
  }

  #ancestors(ids: readonly Digest[]): ReadonlySet<Digest> {
    const found = new Set<Digest>();
    const open = [...ids];
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      for (const parent of this.#statements.get(id)?.previous ?? []) {
        if (found.has(parent)) continue;
        found.add(parent);
        open.push(parent);
      }
    }
    return found;
  }
}

/** What was kept of all stores under that root, whichever of them sent it. */
async function keptUnder(store: Store, head: HeadView, [policy]: Policies): Promise<ReadonlySet<Digest>> {
  const kept = new Set<Digest>();
  for (const ids of await keptLists(store, head))
    if (policy !== undefined && ids.includes(policy.id)) for (const id of ids) kept.add(id);
  return kept;
}

async function keptLists(store: Store, head: HeadView): Promise<readonly (readonly Digest[])[]> {
  const lists: (readonly Digest[])[] = [];
  for await (const [ref, id] of head.listRefs("refs/remotes/")) {
    const parsed = parseRefPath(ref);
    if (parsed.family === "remotes" && parsed.kind === "kept") lists.push(await readList(store, id, "list of objects"));
  }
  return lists;
}

export interface KeptDenials {
  /** Statements that revoke or delete. */
  readonly denials: readonly Digest[];
  readonly refusals: readonly Digest[];
}

/** What people of other roots have denied, by what was kept of their stores: that it is known here, and no more. */
export async function keptDenials(store: Store, head: HeadView): Promise<KeptDenials> {
  const [denials, refusals] = [new Set<Digest>(), new Set<Digest>()];
  for (const id of new Set((await keptLists(store, head)).flat())) {
    const word = await readNamed(store, id, parseWord);
    if (word?.kind === "refusal") refusals.add(id);
    else if (word?.kind === "statement" && word.document.value.state !== "trusted") denials.add(id);
  }
  return { denials: [...denials], refusals: [...refusals] };
}

async function arrivedWord(arrivals: Arrivals, id: Digest): Promise<Word | undefined> {
  const statement = await arrivals.document("coffer/statement", id);
  if (statement !== undefined) return { kind: "statement", document: statement };
  const refusal = await arrivals.document("coffer/refusal", id);
  return refusal && { kind: "refusal", document: refusal };
}

function parseWord(bytes: Uint8Array): Word | undefined {
  switch (kindOf(bytes)) {
    case "coffer/statement":
      return { kind: "statement", document: parseStatement(bytes) };
    case "coffer/refusal":
      return { kind: "refusal", document: parseRefusal(bytes) };
    case "coffer/manifest":
      return { kind: "manifest", document: parseManifest(bytes) };
    default:
      return undefined;
  }
}

function push<T>(lists: Map<Digest, T[]>, key: Digest, value: T): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}

/** What is in both lists stays once. */
function join<T extends { readonly id: Digest }>(
  lists: Map<Digest, T[]>,
  others: ReadonlyMap<Digest, readonly T[]>,
): void {
  for (const [key, more] of others) {
    const known = new Set(lists.get(key)?.map(({ id }) => id));
    for (const one of more) if (!known.has(one.id)) push(lists, key, one);
  }
}

function revokedBy({ id, value }: Stored<Statement>): Against {
  const because = value.reason === undefined ? "" : `: ${value.reason}`;
  const where = `where it comes from (policy root ${short(value.root)})`;
  const text = `revoked ${where}, by statement ${short(id)} of ${value.name.text}${because}`;
  return { code: "REVOKED", text, by: [id] };
}
