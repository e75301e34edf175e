// SPDX-License-Identifier: Apache-2.0
/** The part of fsck that follows refs: what each holds is here, is of the right kind and carries its signatures. Layer: repo. */
import { type Digest, short } from "../base/digest.ts";
import { type Name, type NameText, parseName } from "../base/names.ts";
import {
  evidenceRef,
  nameRef,
  type ParsedRef,
  parseRefPath,
  type RefPath,
  type RemoteKind,
  signersRef,
} from "../base/ref-path.ts";
import { parseEvidence } from "../objects/documents/evidence.ts";
import type { ManifestFile } from "../objects/documents/manifest.ts";
import { parseRefusal } from "../objects/documents/refusal.ts";
import { parseStatement } from "../objects/documents/statement.ts";
import { readObject } from "../objects/object-store.ts";
import { signersOf } from "../objects/signatures.ts";
import type { HeadView } from "../refs/head-view.ts";
import { authorisedDenial } from "../trust/revocation.ts";
import { keysOf } from "../trust/roles.ts";
import { readHeads } from "./candidates.ts";
import {
  Dossier,
  type Policies,
  readHeadIds,
  readList,
  readManifest,
  readNamed,
  readPolicies,
  readStatement,
} from "./dossier.ts";
import type { Findings } from "./fsck.ts";
import { judge } from "./resolve.ts";
import type { Store } from "./store.ts";

interface Walk {
  readonly store: Store;
  readonly head: HeadView;
  readonly policies: Policies;
  readonly found: Findings;
  readonly wanted: Wanted;
}

/** What one manifest that is not revoked by name says of a blob. */
export interface Claim {
  /** The name that the manifest stands, waits or is proposed under. */
  readonly name: NameText;
  readonly manifest: Digest;
  readonly file: ManifestFile;
  /** It stands under a trusted name. */
  readonly trusted: boolean;
}

/** All that is said of each blob. */
export type Wanted = Map<Digest, [Claim, ...Claim[]]>;
export type Claims = readonly [Claim, ...Claim[]];

/** @returns how many refs were followed */
export async function checkRefs(store: Store, found: Findings, wanted: Wanted): Promise<number> {
  const head = await store.head();
  const walk: Walk = { store, head, policies: await readPolicies(store, head), found, wanted };
  let count = 0;
  for await (const [ref, id] of head.listRefs()) {
    count += 1;
    await found.attempt(ref, () => checkRef(walk, ref, parseRefPath(ref), id));
  }
  return count;
}

async function checkRef(walk: Walk, ref: RefPath, parsed: ParsedRef, id: Digest): Promise<void> {
  switch (parsed.family) {
    case "policy":
      return; // readPolicies has read it
    case "acquired":
    case "quarantined":
      return wantManifest(walk, parsed.name, id);
    case "proposed":
    case "revoking":
    case "deleting":
      return checkCandidate(walk, ref, parsed.name, id);
    case "chain":
      return checkHeads(walk, ref, parsed.name);
    case "trusted":
      await checkSigned(walk, ref, parsed.family, parsed.name, id);
      return checkHeads(walk, ref, parsed.name);
    case "revoked":
    case "deleted":
      return checkSigned(walk, ref, parsed.family, parsed.name, id);
    case "revoked-bytes":
      return checkRevokedBytes(walk, ref, parsed, id);
    case "waiting":
      return checkWaiting(walk, parsed.name);
    case "signers":
      return checkSigners(walk, parsed.digest, id);
    case "evidence":
      return checkEvidence(walk, ref, parsed.digest, id);
    case "refused":
      return checkRefused(walk, ref, parsed.digest, id);
    case "remotes":
      return checkRemote(walk, ref, parsed.kind, id);
  }
}

async function wantManifest({ store, wanted }: Walk, name: Name, id: Digest, trusted = false): Promise<void> {
  const manifest = await readManifest(store, id);
  for (const file of manifest.value.files) {
    const claim = { name: name.text, manifest: id, file, trusted };
    const known = wanted.get(file.sha256);
    if (known === undefined) wanted.set(file.sha256, [claim]);
    else known.push(claim);
  }
}

/** What this store has looked at has been here, whole: its own evidence says so. The rest may be still to come. */
export async function wasHere(store: Store, head: HeadView, claims: Claims): Promise<boolean> {
  for (const { manifest } of claims) {
    for (const id of await readList(store, await head.readRef(evidenceRef(manifest)), "list of evidence")) {
      const stored = await readObject(store.objects, id, "evidence", parseEvidence);
      if ((await signersOf(store.files, stored, "coffer-evidence", [store.storeKey])).size > 0) return true;
    }
  }
  return false;
}

async function checkCandidate(walk: Walk, ref: RefPath, name: Name, id: Digest): Promise<void> {
  const { value } = await readStatement(walk.store, id);
  const family = ref.startsWith("refs/proposed/")
    ? "trusted"
    : ref.startsWith("refs/deleting/")
      ? "deleted"
      : "revoked";
  const expected = nameRef(family, name);
  if (value.ref !== expected) walk.found.problem("CORRUPT", ref, `holds a statement for ${value.ref}`);
  if (family !== "deleted") await wantManifest(walk, name, value.manifest);
}

/** A trusted name must be carried by its signatures; being denied for other reasons is told, and is no damage. */
async function checkHeads(walk: Walk, ref: RefPath, name: Name): Promise<void> {
  const { store, head, policies, found } = walk;
  const verdict = await judge(store, head, name, policies);
  for (const reason of verdict.reasons) if (reason.code === "CORRUPT") found.problem("CORRUPT", ref, reason.text);
  const heads = await readHeads(store, head, policies, name);
  const [only, ...others] = heads;
  const one = only !== undefined && others.length === 0 && only.value.state === "trusted";
  const place = nameRef(one ? "trusted" : "chain", name);
  if (only === undefined) found.problem("CORRUPT", ref, "an empty list of heads");
  else if (ref !== place) found.problem("CORRUPT", ref, `expected these heads under ${place}`);
  if (!one) return;
  await wantManifest(walk, name, only.value.manifest, true);
  const [reason] = verdict.reasons;
  if (reason === undefined || reason.code === "CORRUPT") return;
  // Somebody decided that; the name's own people may still revoke it, or promote other bytes.
  if (reason.code === "REVOKED") found.notes.push(`${name.text} is denied: ${reason.text}`);
  else found.problem(reason.code, nameRef("trusted", name), reason.text);
}

async function checkSigned(
  walk: Walk,
  ref: RefPath,
  state: "trusted" | "revoked" | "deleted",
  name: Name,
  id: Digest,
): Promise<void> {
  const { store, head, policies, found } = walk;
  const member = await new Dossier(store, head, policies, name).member(id);
  if (member.value.ref !== ref) found.problem("CORRUPT", ref, `holds a statement for ${member.value.ref}`);
  const known = [
    ...(await readHeadIds(store, head, name)),
    ...(await new Dossier(store, head, policies, name).waiting()),
  ];
  if (known.length === 0) found.problem("CORRUPT", ref, "has no head beside it");
  if (state !== "trusted" && !authorisedDenial(policies, member)) {
    found.problem("CORRUPT", ref, `statement ${short(id)} lacks the revokers' signatures`);
  }
}

async function checkRevokedBytes(
  { store, head, policies, found }: Walk,
  ref: RefPath,
  { digest, kind }: Extract<ParsedRef, { family: "revoked-bytes" }>,
  id: Digest,
): Promise<void> {
  for (const entry of await readList(store, id, "list of revocations")) {
    const { value } = await readStatement(store, entry);
    const member = await new Dossier(store, head, policies, value.name).member(entry);
    const listed = value.revokes?.[`${kind}s`].includes(digest) === true;
    if (value.state !== "revoked" || !listed)
      found.problem("CORRUPT", ref, `statement ${short(entry)} does not revoke it`);
    else if (!authorisedDenial(policies, member)) {
      found.problem("CORRUPT", ref, `statement ${short(entry)} lacks the revokers' signatures`);
    }
  }
}

async function checkWaiting({ store, head, policies }: Walk, name: Name): Promise<void> {
  await new Dossier(store, head, policies, name).waiting(); // throws where one is missing or has lost a signature
}

/** The signatures themselves are checked where their object counts. */
async function checkSigners({ store, found }: Walk, object: Digest, id: Digest): Promise<void> {
  const signers = await readList(store, id, "list of signers");
  if (signers.length === 0) found.problem("CORRUPT", signersRef(object), "an empty list of signers");
  if ((await store.objects.read(object)) === undefined)
    found.problem("CORRUPT", signersRef(object), "its object is missing");
}

async function checkEvidence(
  { store, policies, found }: Walk,
  ref: RefPath,
  manifest: Digest,
  id: Digest,
): Promise<void> {
  const everybody = policies.flatMap(({ value: policy }) => keysOf(policy, policy.principals.keys()));
  for (const entry of await readList(store, id, "list of evidence")) {
    const stored = await readObject(store.objects, entry, "evidence", parseEvidence);
    const { value } = stored;
    const signers = await signersOf(store.files, stored, "coffer-evidence", [store.storeKey, ...everybody]);
    if (signers.size === 0) found.problem("CORRUPT", ref, `evidence ${short(entry)} has lost its signatures`);
    if (value.manifest !== manifest)
      found.problem("CORRUPT", ref, `evidence ${short(entry)} is about another manifest`);
  }
}

/** Each is about that statement and carries all the signatures that the tree names. */
async function checkRefused(walk: Walk, ref: RefPath, statement: Digest, id: Digest): Promise<void> {
  const { store, head, policies, found } = walk;
  for (const entry of await readList(store, id, "list of refusals")) {
    const { value } = await readObject(store.objects, entry, "refusal", parseRefusal);
    if (value.statement !== statement)
      found.problem("CORRUPT", ref, `refusal ${short(entry)} is about another statement`);
  }
  const name = await nameOfRefused(store, statement);
  await new Dossier(store, head, policies, name).refusals(statement); // throws where one has lost a signature
}

/**
 * A refusal may have come before its statement, or be of what is none; whose name it is then does not change who signed it.
 */
async function nameOfRefused(store: Store, statement: Digest): Promise<Name> {
  return (await readNamed(store, statement, parseStatement))?.value.name ?? parseName("not/here");
}

/** What it remembers of another store is here; what that names need not be. */
async function checkRemote({ store, found }: Walk, ref: RefPath, kind: RemoteKind, id: Digest): Promise<void> {
  const ids = kind === "index" ? [id] : await readList(store, id, "list of objects");
  for (const entry of ids) {
    if ((await store.objects.read(entry)) === undefined)
      found.problem("CORRUPT", ref, `object ${short(entry)} is missing`);
  }
}
