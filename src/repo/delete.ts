// SPDX-License-Identifier: Apache-2.0
/**
 * `delete`: the revokers of a revoked name have its bytes removed. The record stays: statements, manifests, signatures, log.
 * Layer: repo. Holds invariant 4. Blobs that nothing else holds go to local/trash by the rules of gc
 * (docs/decisions/0024-gc-without-a-lock.md): moved, the head read once more, put back if somebody came to need them.
 */
import type { Digest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import { nameRef } from "../base/ref-path.ts";
import { formatTime } from "../base/time.ts";
import type { Signer } from "../keys/signer.ts";
import { signSshsig } from "../keys/sshsig.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { makeStatement, type Statement } from "../objects/documents/statement.ts";
import { blobPath, ensureFolders, parentFolder } from "../objects/layout.ts";
import { planSignature } from "../objects/signatures.ts";
import { moveToTrash, putBack, trashPath } from "../objects/trash.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Member } from "../trust/evaluate.ts";
import { meets, signedBy } from "../trust/roles.ts";
import { afterHeads, needOwner, needRule, readHeads } from "./candidates.ts";
import { denyingMoves, waitingDenial } from "./denials.ts";
import { Dossier, newestPolicy, type Policies, readManifest, readPolicies } from "./dossier.ts";
import { forgetCheckouts } from "./materialise.ts";
import { manifestsBackFrom, Reach } from "./reach.ts";
import { withReserve } from "./reserve.ts";
import { judge, refusal } from "./resolve.ts";
import { manifestsOf } from "./revoke.ts";
import type { Store } from "./store.ts";

export interface DeleteRequest {
  readonly name: Name;
  readonly reason?: string;
  /** Make a new statement although one waits for further revokers; its signatures are lost. */
  readonly replace?: boolean;
}

/** What a deletion would do, or has done. */
export interface DeletePlan {
  readonly name: Name;
  /** Every manifest that the name had since it was last deleted; sorted. */
  readonly manifests: readonly Digest[];
  /** Their blobs, whoever else holds them. */
  readonly blobs: { readonly count: number; readonly bytes: number };
  readonly threshold: number;
  readonly revokers: readonly string[];
  /** False: a trusted statement stands, or none at all; it must be revoked first. */
  readonly revoked: boolean;
  /** Why it was revoked, if that was said: whoever asks later is told of the deletion alone. */
  readonly because?: string;
  /** The statement that already deleted the name: nothing is signed then. */
  readonly already?: Digest;
  /** The statement that others signed before: this is what is signed now, with its reason, and no other. */
  readonly waiting?: Stored<Statement>;
}

export interface Deleted extends DeletePlan {
  readonly statement: Digest;
  /** Revokers who have signed. */
  readonly signed: readonly string[];
  /** The log entry that did it; undefined while signatures are missing. */
  readonly entry?: number;
}

/** @throws CofferError NAME_NOT_FOUND, NO_RULE, CANDIDATE_EXISTS - another deletion waits */
export async function planDelete(store: Store, request: DeleteRequest): Promise<DeletePlan> {
  const head = await withReserve(store, () => store.head());
  return plan(store, head, await readPolicies(store, head), request);
}

async function plan(store: Store, head: HeadView, policies: Policies, request: DeleteRequest): Promise<DeletePlan> {
  const { name, reason, replace } = request;
  const { revokers } = needRule(policies, name);
  const heads = await readHeads(store, head, policies, name);
  if (heads.length === 0) await needKnown(store, head, policies, name);
  const states = new Set(heads.map(({ value }) => value.state));
  const already = states.size === 1 && states.has("deleted") ? heads[0] : undefined;
  const revoked = states.has("revoked") && !states.has("trusted");
  const ref = nameRef("deleting", name);
  const waiting = revoked && replace !== true ? await waitingDenial(store, head, ref, heads, reason, false) : undefined;
  // Of a name that is deleted already: what the deletion was of.
  const from = already === undefined ? heads.map(({ id }) => id) : heads.flatMap(({ value }) => value.previous);
  const back = await manifestsBackFrom(store, from);
  // Of a name that was never promoted: what revoking it would be about.
  const waits = heads.length === 0 ? (await manifestsOf(store, head, heads, name)).slice(0, 1) : [];
  const manifests = [...back, ...waits].sort();
  const sizes = [...(await blobsOf(store, manifests)).values()];
  const because = heads.find(({ value }) => value.state === "revoked")?.value.reason;
  return {
    name,
    manifests,
    blobs: { count: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) },
    threshold: revokers.threshold,
    revokers: revokers.principals,
    revoked,
    ...(because === undefined ? {} : { because }),
    ...(already === undefined ? {} : { already: already.id }),
    ...(waiting === undefined ? {} : { waiting }),
  };
}

/** @throws CofferError NAME_NOT_FOUND - nothing waits under the name either */
async function needKnown(store: Store, head: HeadView, policies: Policies, name: Name): Promise<void> {
  const error = await refusal(head, name, await judge(store, head, name, policies));
  if (error.code === "NAME_NOT_FOUND") throw error;
}

/**
 * Signs the deletion; when enough have signed, commits it: then `removeBytes`. A second revoker signs what waits.
 * Where the disk is full, the reserve makes room for it.
 *
 * @param shown - the plan that the person has read: what is signed is that, or nothing
 * @throws CofferError NOT_REVOKED, NOT_ALLOWED, NO_RULE, NAME_NOT_FOUND, CANDIDATE_EXISTS; REF_MOVED - something else
 *   stands now
 */
export function deleteName(store: Store, request: DeleteRequest, signer: Signer, shown?: DeletePlan): Promise<Deleted> {
  return withReserve(store, () => deleteOnce(store, request, signer, shown));
}

async function deleteOnce(
  store: Store,
  request: DeleteRequest,
  signer: Signer,
  shown: DeletePlan | undefined,
): Promise<Deleted> {
  const { name } = request;
  const issuedAt = formatTime(store.ports.clock());
  const read = shown ?? (await planDelete(store, request));
  let done: Deleted | undefined;
  let committed = false;
  const entry = await store.commit(async (head) => {
    committed = false;
    const policies = await readPolicies(store, head);
    const { revokers } = needRule(policies, name);
    const policy = newestPolicy(policies);
    needOwner(policy, revokers.principals, signer.publicKey, `revokers of ${name.text}`);
    const planned = await plan(store, head, policies, request);
    if (planned.already !== undefined) {
      done = { ...planned, statement: planned.already, signed: [] };
      return undefined;
    }
    if (!planned.revoked) throw new CofferError("NOT_REVOKED", `${name.text} is not revoked, so it cannot be deleted`);
    refuseOther(read, planned);
    const batch = store.batch();
    const heads = await readHeads(store, head, policies, name);
    const statement = planned.waiting ?? newStatement(policies, heads, request, issuedAt);
    batch.addObject(statement);
    const armored = await signSshsig(signer, "coffer-statement", statement.bytes);
    await planSignature(store.files, batch, statement, "coffer-statement", { publicKey: signer.publicKey, armored });
    const before = await new Dossier(store, head, policies, name).signersOfNew(statement);
    const signers = new Set([...before, signer.publicKey.keyId]);
    done = { ...planned, statement: statement.id, signed: signedBy(policy, revokers.principals, signers) };
    committed = meets(policy, revokers, signers);
    const moves = committed
      ? await denyingMoves(store, head, batch, statement, signers, new Set(planned.manifests))
      : [{ ref: nameRef("deleting", name), to: statement.id }];
    return { moves, batch, note: `${committed ? "delete" : "sign the deletion of"} ${name.text}` };
  });
  /* c8 ignore next: for the types alone; only a fault of this program leads here */
  if (done === undefined) throw new CofferError("INTERNAL", "a deletion without a plan");
  return committed && entry !== undefined ? { ...done, entry: entry.number } : done;
}

/** What a person read and said yes to must be what is signed. */
function refuseOther(shown: DeletePlan, planned: DeletePlan): void {
  const what = ({ manifests, waiting }: DeletePlan): string => JSON.stringify([waiting?.id, manifests]);
  if (what(shown) === what(planned)) return;
  throw new CofferError("REF_MOVED", `what stands under ${planned.name.text} is no longer what was shown; look again`);
}

function newStatement(
  policies: Policies,
  heads: readonly Member[],
  { name, reason }: DeleteRequest,
  issuedAt: Statement["issuedAt"],
): Stored<Statement> {
  const [first] = heads;
  /* c8 ignore next: for the types alone; only a fault of this program leads here */
  if (first === undefined) throw new CofferError("INTERNAL", "a deletion that follows nothing");
  return makeStatement({
    ...afterHeads(policies, heads),
    ref: nameRef("deleted", name),
    manifest: first.value.manifest,
    issuedAt,
    evidence: [],
    ...(reason === undefined ? {} : { reason }),
  });
}

export interface RemovedBytes {
  readonly blobs: number;
  readonly bytes: number;
  /** Blobs of the deleted manifests that something else holds. */
  readonly held: readonly Digest[];
  /** Blobs that could not be moved: another account's, or in the trash already under a second name; gc is asked again. */
  readonly left: readonly Digest[];
}

/**
 * Moves to the trash what the deletion of a name leaves without a holder, and removes its checkouts. Runs after the commit,
 * and again whenever somebody deletes the name once more: also for what a stopped deletion left.
 *
 * @throws CofferError CORRUPT - what other names need is not known, so nothing is moved; NO_SPACE, IO_ERROR
 */
export async function removeBytes(store: Store, { manifests }: DeletePlan): Promise<RemovedBytes> {
  await store.needSigner();
  await store.sweep(); // of a deletion that was stopped after its commit, this is what is left to do
  const reach = new Reach(store);
  await reach.followHead();
  await forgetCheckouts(
    store,
    manifests.filter((id) => !reach.needsManifest(id)),
  );
  const blobs = await blobsOf(store, manifests);
  const held = [...blobs.keys()].filter((id) => reach.hasBlob(id));
  const moved = new Map<Digest, number>();
  const left: Digest[] = [];
  for (const [id, size] of blobs) {
    if (reach.hasBlob(id)) continue;
    const how = await trash(store, blobPath(id));
    if (how === "moved") moved.set(id, size);
    else if (how !== "gone") left.push(id);
  }
  await reach.followHead();
  for (const id of moved.keys()) {
    if (!reach.hasBlob(id)) continue;
    await putBack(store.files, blobPath(id));
    moved.delete(id);
    held.push(id);
  }
  return { blobs: moved.size, bytes: [...moved.values()].reduce((sum, size) => sum + size, 0), held, left };
}

async function blobsOf(store: Store, manifests: readonly Digest[]): Promise<Map<Digest, number>> {
  const blobs = new Map<Digest, number>();
  for (const id of manifests) {
    for (const file of (await readManifest(store, id)).value.files) blobs.set(file.sha256, file.size);
  }
  return blobs;
}

async function trash(store: Store, path: string): Promise<"moved" | "linked" | "foreign" | "gone"> {
  if ((await store.files.stat(path)) === undefined) return "gone";
  const parent = parentFolder(path);
  await ensureFolders(store.files, [trashPath(parent)]);
  const how = await moveToTrash(store.files, path);
  if (how === "moved") {
    await store.files.fsyncFolder(trashPath(parent));
    await store.files.fsyncFolder(parent);
  }
  return how;
}
