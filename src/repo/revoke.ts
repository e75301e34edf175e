// SPDX-License-Identifier: Apache-2.0
/**
 * `revoke`: takes a name, and the bytes behind it, out of use in one transaction. Layer: repo. Holds invariants 4 and 8.
 * Where the rule asks for several revokers, the statement waits under refs/revoking until enough have signed.
 */
import { type Digest, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import { quote } from "../base/quote.ts";
import { nameRef, type RefPath, type RevokedKind, revokedRef } from "../base/ref-path.ts";
import { formatTime, type Time } from "../base/time.ts";
import type { KeyId } from "../keys/public-key.ts";
import type { Signer } from "../keys/signer.ts";
import { signSshsig } from "../keys/sshsig.ts";
import { makeList } from "../objects/documents/list.ts";
import { type Manifest, WEIGHT_FORMATS } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { makeStatement, NOTHING_REVOKED, type Revokes, type Statement } from "../objects/documents/statement.ts";
import { planSignature } from "../objects/signatures.ts";
import type { WriteBatch } from "../objects/write-batch.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Member } from "../trust/evaluate.ts";
import { meets, ruleFor, signedBy } from "../trust/roles.ts";
import { afterHeads, needOwner, needRule, readHeads } from "./candidates.ts";
import { denyingMoves, waitingDenial } from "./denials.ts";
import {
  Dossier,
  newestPolicy,
  type Policies,
  readList,
  readManifest,
  readPolicies,
  readStatement,
} from "./dossier.ts";
import { withdrawLfs } from "./git-files.ts";
import { forgetCheckouts } from "./materialise.ts";
import { type Names, openNames } from "./names.ts";
import { withReserve } from "./reserve.ts";
import type { Store } from "./store.ts";

export interface RevokeRequest {
  readonly name: Name;
  readonly reason?: string;
  /** Further blobs of this name to revoke, each as 12 or more characters of its digest: given after a dry run. */
  readonly also: readonly string[];
  /** Make a new statement although one waits for further revokers; its signatures are lost. */
  readonly replace?: boolean;
}

/** What a revocation would do, or has done. */
export interface RevokePlan {
  /** What it was made from: on that head, it is the answer to that request, and need not be worked out again. */
  readonly basis: { readonly head: Digest; readonly request: RevokeRequest };
  readonly name: Name;
  readonly manifest: Digest;
  readonly revokes: Revokes;
  /** Every trusted name that falls with it, its own included; sorted. */
  readonly falls: readonly Name[];
  /** Blobs of weights that stay, since another trusted name holds them with another manifest. */
  readonly kept: readonly { readonly blob: Digest; readonly heldBy: Name }[];
  readonly threshold: number;
  readonly revokers: readonly string[];
  /** The statement that already revoked the name: nothing is done then. */
  readonly already?: Digest;
  /** The statement that others signed before: this is what is signed now, with its reason, and no other. */
  readonly waiting?: Stored<Statement>;
  /** Manifests of the names that fall: their checkouts go. */
  readonly fallen: readonly Digest[];
}

export interface Revoked extends RevokePlan {
  readonly statement: Digest;
  /** Revokers who have signed. */
  readonly signed: readonly string[];
  /** The log entry that did it; undefined while signatures are missing. */
  readonly entry?: number;
}

/** @throws CofferError NAME_NOT_FOUND, NO_RULE */
export async function planRevoke(store: Store, request: RevokeRequest): Promise<RevokePlan> {
  // A head that is new to this machine is remembered first, and even that takes an inode.
  const head = await withReserve(store, () => store.head());
  return withNames(store, true, (namesAt) => planAt(store, head, request, namesAt));
}

/** The names as of a head, which rises from call to call; opened by the first. */
type NamesAt = (head: HeadView) => Promise<Names>;

async function withNames<T>(store: Store, mayWrite: boolean, run: (namesAt: NamesAt) => Promise<T>): Promise<T> {
  let names: Names | undefined;
  try {
    return await run(async (head) => {
      if (names === undefined) names = await openNames(store, head, { mayWrite });
      else await names.follow(head);
      return names;
    });
  } finally {
    await names?.close();
  }
}

async function planAt(store: Store, head: HeadView, request: RevokeRequest, namesAt: NamesAt): Promise<RevokePlan> {
  const names = await namesAt(head);
  const policies = await readPolicies(store, head);
  const { name } = request;
  const { revokers } = needRule(policies, name);
  const heads = await readHeads(store, head, policies, name);
  const manifests = await manifestsOf(store, head, heads, name);
  const [manifest] = manifests;
  if (manifest === undefined) throw new CofferError("NAME_NOT_FOUND", `nothing is known by the name ${name.text}`);
  const holders = new Holders(store, head, names);
  const models = await Promise.all(manifests.map((id) => readManifest(store, id)));
  const { blobs, kept } = await chooseBlobs(models, holders);
  const denies = heads.every((entry) => entry.value.state !== "trusted") ? heads[0] : undefined;
  const fresh = withAlso(models, { manifests, blobs, statements: [] }, request.also);
  const waiting =
    request.replace === true
      ? undefined
      : await waitingDenial(store, head, nameRef("revoking", name), heads, request.reason, request.also.length > 0);
  const revokes = denies?.value.revokes ?? waiting?.value.revokes ?? fresh;
  const falling = await holdersThatFall(policies, name, revokes, holders);
  return {
    basis: { head: head.id, request },
    name,
    manifest,
    revokes,
    falls: falling.map((holder) => holder.name),
    fallen: falling.map((holder) => holder.manifest.id),
    kept,
    threshold: revokers.threshold,
    revokers: revokers.principals,
    ...(denies === undefined ? {} : { already: denies.id }),
    ...(waiting === undefined ? {} : { waiting }),
  };
}

/** What stands under the name: the heads' manifests, else what waits there. */
export async function manifestsOf(
  store: Store,
  head: HeadView,
  heads: readonly Member[],
  name: Name,
): Promise<Digest[]> {
  if (heads.length > 0) return [...new Set(heads.map((entry) => entry.value.manifest))].sort();
  const proposed = await head.readRef(nameRef("proposed", name));
  const waiting = [
    await head.readRef(nameRef("quarantined", name)),
    await head.readRef(nameRef("acquired", name)),
    proposed === undefined ? undefined : (await readStatement(store, proposed)).value.manifest,
  ];
  return [...new Set(waiting.filter((id) => id !== undefined))].sort();
}

interface Holder {
  readonly name: Name;
  readonly manifest: Stored<Manifest>;
}

/** Trusted names by the bytes that they hold, each read through the ref tree and once; each digest looked up once. */
class Holders {
  private readonly store: Store;
  private readonly head: HeadView;
  private readonly names: Names;
  private readonly read = new Map<string, Holder | undefined>();
  private readonly named = new Map<Digest, readonly Name[]>();
  private unreadable: readonly Name[] | undefined;

  constructor(store: Store, head: HeadView, names: Names) {
    this.store = store;
    this.head = head;
    this.names = names;
  }

  /**
   * In the order of names; `digest` is a manifest or a blob.
   * @throws CofferError CORRUPT - a name cannot be read that holds it, or may hold it
   */
  async *of(digest: Digest): AsyncGenerator<Holder> {
    for (const name of await this.candidates(digest)) {
      const holder = await this.holder(name);
      if (holder !== undefined && holds(holder.manifest, digest)) yield holder;
    }
  }

  private async candidates(digest: Digest): Promise<readonly Name[]> {
    const known = this.named.get(digest);
    if (known !== undefined) return known;
    this.unreadable ??= await this.names.unreadable();
    const found = [...(await this.names.holders(digest)), ...this.unreadable];
    this.named.set(digest, found);
    return found;
  }

  private async holder(name: Name): Promise<Holder | undefined> {
    if (this.read.has(name.text)) return this.read.get(name.text);
    const id = await this.head.readRef(nameRef("trusted", name));
    const holder = id === undefined ? undefined : await this.readHolder(name, id);
    this.read.set(name.text, holder);
    return holder;
  }

  private async readHolder(name: Name, id: Digest): Promise<Holder> {
    const { value } = await readStatement(this.store, id);
    return { name, manifest: await readManifest(this.store, value.manifest) };
  }
}

function holds(manifest: Stored<Manifest>, digest: Digest): boolean {
  return manifest.id === digest || manifest.value.files.some((file) => file.sha256 === digest);
}

/** Weights that no trusted name holds with another manifest; the others are shown, not taken. */
async function chooseBlobs(models: readonly Stored<Manifest>[], holders: Holders) {
  const own = new Set(models.map((model) => model.id));
  const blobs: Digest[] = [];
  const kept: { readonly blob: Digest; readonly heldBy: Name }[] = [];
  const files = models.flatMap((model) => model.value.files);
  for (const blob of new Set(files.filter((file) => WEIGHT_FORMATS.has(file.format)).map((file) => file.sha256))) {
    const heldBy = await otherHolder(blob, own, holders);
    if (heldBy === undefined) blobs.push(blob);
    else kept.push({ blob, heldBy });
  }
  return { blobs, kept };
}

/** The first is enough: however many hold it, it stays. */
async function otherHolder(blob: Digest, own: ReadonlySet<Digest>, holders: Holders): Promise<Name | undefined> {
  for await (const { name, manifest } of holders.of(blob)) if (!own.has(manifest.id)) return name;
  return undefined;
}

function withAlso(models: readonly Stored<Manifest>[], revokes: Revokes, also: readonly string[]): Revokes {
  const known = [...new Set(models.flatMap((model) => model.value.files.map((file) => file.sha256)))];
  const more = also.map((prefix) => {
    if (!/^[0-9a-f]{12,64}$/.test(prefix)) {
      throw new CofferError("DIGEST_INVALID", `expected 12 to 64 lower-case hex characters, found ${quote(prefix)}`);
    }
    const [blob, ...others] = known.filter((digest) => digest.startsWith(prefix));
    if (blob === undefined) throw new CofferError("OBJECT_NOT_FOUND", `blob ${short(prefix)} is not part of this name`);
    if (others.length > 0) throw new CofferError("DIGEST_AMBIGUOUS", `${prefix} begins ${others.length + 1} blobs`);
    return blob;
  });
  return { ...revokes, blobs: [...new Set([...revokes.blobs, ...more])].sort() };
}

/** A revocation reaches the names whose own rule lists enough of the same revokers. */
async function holdersThatFall(policies: Policies, name: Name, revokes: Revokes, holders: Holders): Promise<Holder[]> {
  const policy = newestPolicy(policies);
  const revokers = ruleFor(policy, name)?.revokers;
  const falling = new Map<string, Holder>();
  for (const digest of [...revokes.manifests, ...revokes.blobs]) {
    for await (const holder of holders.of(digest)) {
      const theirs = ruleFor(policy, holder.name)?.revokers;
      const shared = theirs?.principals.filter((who) => revokers?.principals.includes(who) === true).length ?? 0;
      if (theirs !== undefined && shared >= theirs.threshold) falling.set(holder.name.text, holder);
    }
  }
  return [...falling.values()].sort((a, b) => (a.name.text < b.name.text ? -1 : 1));
}

/**
 * Signs the revocation; when enough have signed, commits it. A second revoker signs the statement that waits.
 * Where the disk is full, the reserve makes room for it.
 *
 * @param shown - the plan that the person has read: what is signed is that, or nothing
 * @throws CofferError NOT_ALLOWED, NO_RULE, NAME_NOT_FOUND, CANDIDATE_EXISTS; REF_MOVED - something else stands now
 */
export function revoke(store: Store, request: RevokeRequest, signer: Signer, shown?: RevokePlan): Promise<Revoked> {
  return withReserve(store, () => revokeOnce(store, request, signer, shown));
}

function revokeOnce(
  store: Store,
  request: RevokeRequest,
  signer: Signer,
  shown: RevokePlan | undefined,
): Promise<Revoked> {
  return withNames(store, shown === undefined, async (namesAt) => {
    const read = shown ?? (await planAt(store, await store.head(), request, namesAt));
    return signAndDeny(store, request, signer, read, namesAt);
  });
}

async function signAndDeny(
  store: Store,
  request: RevokeRequest,
  signer: Signer,
  read: RevokePlan,
  namesAt: NamesAt,
): Promise<Revoked> {
  const issuedAt = formatTime(store.ports.clock());
  let done: Omit<Revoked, "entry"> | undefined;
  let committed = false;
  const entry = await store.commit(async (head) => {
    const policies = await readPolicies(store, head);
    const { revokers } = needRule(policies, request.name);
    needOwner(newestPolicy(policies), revokers.principals, signer.publicKey, `revokers of ${request.name.text}`);
    const isSame = read.basis.head === head.id && read.basis.request === request;
    const planned = isSame ? read : await planAt(store, head, request, namesAt);
    if (planned.already !== undefined) {
      done = { ...planned, statement: planned.already, signed: [] };
      committed = false;
      return undefined;
    }
    refuseOther(read, planned);
    const batch = store.batch();
    const statement = planned.waiting ?? (await newStatement(store, head, policies, request, planned, issuedAt));
    batch.addObject(statement);
    const armored = await signSshsig(signer, "coffer-statement", statement.bytes);
    await planSignature(store.files, batch, statement, "coffer-statement", { publicKey: signer.publicKey, armored });
    const before = await new Dossier(store, head, policies, request.name).signersOfNew(statement);
    const signers = new Set([...before, signer.publicKey.keyId]);
    const policy = newestPolicy(policies);
    done = { ...planned, statement: statement.id, signed: signedBy(policy, revokers.principals, signers) };
    committed = meets(policy, revokers, signers);
    if (committed) await withdrawFallen(store, planned);
    const moves = committed
      ? await denyMoves(store, head, batch, statement, signers)
      : [{ ref: nameRef("revoking", request.name), to: statement.id }];
    return { moves, batch, note: `${committed ? "revoke" : "sign the revocation of"} ${request.name.text}` };
  });
  /* c8 ignore next: for the types alone; only a fault of this program leads here */
  if (done === undefined) throw new CofferError("INTERNAL", "a revocation without a plan");
  if (done.already !== undefined) await forgetFallen(store, done);
  if (!committed || entry === undefined) return done;
  await forgetFallen(store, done);
  return { ...done, entry: entry.number };
}

/** What a person read and said yes to must be what is signed. */
function refuseOther(shown: RevokePlan, planned: RevokePlan): void {
  const what = ({ revokes, waiting }: RevokePlan): string =>
    JSON.stringify([waiting?.id, revokes.manifests, revokes.blobs, revokes.statements]);
  if (what(shown) === what(planned)) return;
  throw new CofferError("REF_MOVED", `what stands under ${planned.name.text} is no longer what was shown; look again`);
}

/** Before the commit: git-lfs must give nothing that no longer stands. */
function withdrawFallen(store: Store, { revokes, fallen, kept }: RevokePlan): Promise<void> {
  const manifests = [...revokes.manifests, ...fallen];
  return withdrawLfs(store, { manifests, blobs: revokes.blobs, kept: kept.map(({ blob }) => blob) });
}

/** Removes what was laid in this store of all that falls, and all that a revocation left that was stopped after its commit. */
export async function forgetFallen(store: Store, { revokes, fallen }: RevokePlan): Promise<void> {
  if (!store.readOnly) await store.sweep();
  await forgetCheckouts(store, [...new Set([...revokes.manifests, ...fallen])]);
}

async function newStatement(
  store: Store,
  head: HeadView,
  policies: Policies,
  request: RevokeRequest,
  planned: RevokePlan,
  issuedAt: Time,
): Promise<Stored<Statement>> {
  const heads = await readHeads(store, head, policies, request.name);
  return makeStatement({
    ...afterHeads(policies, heads),
    ref: nameRef("revoked", request.name),
    manifest: planned.manifest,
    issuedAt,
    evidence: [],
    ...(request.reason === undefined ? {} : { reason: request.reason }),
    revokes: planned.revokes,
  });
}

/** The name's own moves, and one list for each thing that is revoked. */
async function denyMoves(
  store: Store,
  head: HeadView,
  batch: WriteBatch,
  statement: Stored<Statement>,
  signers: Iterable<KeyId>,
): Promise<{ ref: RefPath; to?: Digest }[]> {
  const gone = new Set([statement.value.manifest]);
  const moves = await denyingMoves(store, head, batch, statement, signers, gone);
  const { manifests, blobs, statements } = statement.value.revokes ?? NOTHING_REVOKED;
  const targets: readonly (readonly [RevokedKind, readonly Digest[]])[] = [
    ["manifest", manifests],
    ["blob", blobs],
    ["statement", statements],
  ];
  for (const [kind, digests] of targets) {
    for (const digest of digests) {
      const ref = revokedRef(digest, kind);
      const list = makeList([...(await readList(store, await head.readRef(ref), "list of revocations")), statement.id]);
      batch.addObject(list);
      moves.push({ ref, to: list.id });
    }
  }
  return moves;
}
