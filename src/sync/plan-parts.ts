// SPDX-License-Identifier: Apache-2.0
/**
 * What a name, a denial and the policy bring to a bundle or an offer, each worked out by itself, so that a server keeps what
 * has not changed (repo/serving-draft.ts). Layer: sync. Reads only; a function of the head and the files that it reaches.
 * Not here: putting them together (plan.ts).
 */
import { type Digest, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Name } from "../base/names.ts";
import { evidenceRef, nameRef, POLICY_REF, parseRefPath, type RefPath } from "../base/ref-path.ts";
import type { PublicKey } from "../keys/public-key.ts";
import type { SignatureNamespace } from "../keys/sshsig.ts";
import type { BlobClaim } from "../objects/blob-store.ts";
import { CHUNKS_DIFFER, parseEvidence, SIZE_DIFFERS } from "../objects/documents/evidence.ts";
import { parseList } from "../objects/documents/list.ts";
import { type Manifest, parseManifest } from "../objects/documents/manifest.ts";
import { parsePolicy } from "../objects/documents/policy.ts";
import { parseRefusal } from "../objects/documents/refusal.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { parseStatement, type Statement } from "../objects/documents/statement.ts";
import type { Files } from "../objects/files.ts";
import { blobPath, signaturePath } from "../objects/layout.ts";
import { type ObjectReader, readObject } from "../objects/object-store.ts";
import { signersOf } from "../objects/signatures.ts";
import { statKept } from "../objects/trash.ts";
import type { HeadView } from "../refs/head-view.ts";
import { keysOf } from "../trust/roles.ts";
import type { BundleName, BundleState } from "./bundle-index.ts";
import type { Item } from "./source.ts";
import { findSpare, type Spare } from "./spare.ts";

/** The store that sends. */
export interface Sender {
  readonly files: Files;
  readonly objects: ObjectReader;
  readonly storeKey: PublicKey;
}

export interface PlanRequest {
  /** Whose chains travel whole, with manifests, evidence and blobs; none for revocations alone. */
  readonly names: readonly Name[];
  /** What is proposed under the names travels as well: statement, manifest, evidence. */
  readonly candidates: boolean;
  /** `has`: blobs that the receiver said to have; of others, chunks that stand in one of these under the same name. */
  readonly blobs: "all" | "none" | { readonly has: (blob: Digest) => boolean };
}

/** Documents of one kind on their way, by id: each with its signatures. */
export type Shelf = ReadonlyMap<Digest, readonly Item[]>;

export interface PolicyPart {
  readonly root: Digest;
  /** From version 1 on. */
  readonly policies: readonly Digest[];
  readonly items: readonly Item[];
  /** Of the store and of everybody in any version: whose signatures travel. */
  readonly keys: readonly PublicKey[];
}

/** What one ref says against anything. */
export interface DenialPart {
  readonly denials: Shelf;
  readonly refusals: Shelf;
}

export interface NamePart {
  readonly name: Name;
  /** Absent where the name has neither a chain nor something in quarantine. */
  readonly entry?: BundleName;
  /** Of what is proposed, where that was asked for. */
  readonly candidate?: Digest;
  /** Of the whole chain; whichever of them is among the denials travels there. */
  readonly statements: Shelf;
  readonly manifests: Shelf;
  readonly evidence: Shelf;
  readonly opaque: Shelf;
  readonly claims: ReadonlyMap<Digest, BlobClaim>;
  readonly spare: Spare;
}

/** @throws CofferError CORRUPT - there is none, or one is missing or damaged */
export async function readPolicyPart(sender: Sender, head: HeadView): Promise<PolicyPart> {
  const policies = await readIds(sender, await head.readRef(POLICY_REF), "list of policies");
  const read = [];
  for (const id of policies) read.push(await readObject(sender.objects, id, "policy", parsePolicy));
  const [first] = read;
  if (first === undefined) throw new CofferError("CORRUPT", "the store has no policy");
  const everybody = read.flatMap(({ value }) => keysOf(value, value.principals.keys()));
  const keys = [sender.storeKey, ...everybody];
  const items: Item[] = [];
  for (const policy of read) items.push(...(await signedItems(sender, policy, "coffer-policy", keys)));
  return { root: first.value.root, policies, items, keys };
}

/** True of the refs under which a statement that revokes or deletes, or a refusal, may stand. */
export function mayDeny(ref: RefPath): boolean {
  const { family } = parseRefPath(ref);
  return family === "refused" || DENYING.has(family);
}
const DENYING: ReadonlySet<string> = new Set(["revoked", "deleted", "revoked-bytes", "chain", "waiting"]);

/** What is put together of a name while its chain is followed. */
interface Work {
  readonly statements: Map<Digest, readonly Item[]>;
  readonly manifests: Map<Digest, readonly Item[]>;
  readonly evidence: Map<Digest, readonly Item[]>;
  readonly opaque: Map<Digest, readonly Item[]>;
  readonly claims: Map<Digest, BlobClaim>;
  readonly spare: Map<Digest, ReadonlySet<number>>;
}

/** Reads parts at one head; each document once, however many name it. */
export class PartReader {
  readonly #sender: Sender;
  readonly #head: HeadView;
  readonly #request: Omit<PlanRequest, "names">;
  readonly #keys: readonly PublicKey[];
  readonly #signed = new Map<Digest, readonly Item[]>();
  /** undefined for a statement that denies nothing. */
  readonly #denials = new Map<Digest, readonly Item[] | undefined>();
  /** A head is looked at several times, one thing after the other. */
  #lastStatement: Stored<Statement> | undefined;
  #lastManifest: Stored<Manifest> | undefined;

  /** @param keys - whose signatures travel */
  constructor(sender: Sender, head: HeadView, request: Omit<PlanRequest, "names">, keys: readonly PublicKey[]) {
    this.#sender = sender;
    this.#head = head;
    this.#request = request;
    this.#keys = keys;
  }

  /** What a ref of `mayDeny` says; nothing where it trusts something. @throws CofferError CORRUPT */
  async denialPart(ref: RefPath, id: Digest): Promise<DenialPart> {
    const denials = new Map<Digest, readonly Item[]>();
    const refusals = new Map<Digest, readonly Item[]>();
    const { family } = parseRefPath(ref);
    if (family === "refused") {
      for (const one of await this.#list(id, "list of refusals")) refusals.set(one, await this.#refusal(one));
      return { denials, refusals };
    }
    const isOne = family === "revoked" || family === "deleted";
    for (const one of isOne ? [id] : await this.#list(id, "list of statements")) {
      const items = await this.#denial(one);
      if (items !== undefined) denials.set(one, items);
    }
    return { denials, refusals };
  }

  async #denial(id: Digest): Promise<readonly Item[] | undefined> {
    if (this.#denials.has(id)) return this.#denials.get(id);
    const statement = await this.statement(id);
    const items = statement.value.state === "trusted" ? undefined : await this.#items(statement, "coffer-statement");
    this.#denials.set(id, items);
    return items;
  }

  async #refusal(id: Digest): Promise<readonly Item[]> {
    const known = this.#signed.get(id);
    return known ?? this.#items(await readObject(this.#sender.objects, id, "refusal", parseRefusal), "coffer-refusal");
  }

  /** @throws CofferError CORRUPT - of its chain or its bytes; OBJECT_NOT_FOUND - the bytes of a blob are not here */
  async namePart(name: Name): Promise<NamePart> {
    const work: Work = {
      ...{ statements: new Map(), manifests: new Map(), evidence: new Map(), opaque: new Map() },
      ...{ claims: new Map(), spare: new Map() },
    };
    const candidate = this.#request.candidates ? await this.#head.readRef(nameRef("proposed", name)) : undefined;
    const entry = await this.#entry(work, name);
    if (candidate !== undefined) await this.#addCandidate(work, candidate);
    return { name, ...(entry && { entry }), ...(candidate && { candidate }), ...work };
  }

  /** undefined if the name has neither a chain nor something in quarantine. */
  async #entry(work: Work, name: Name): Promise<BundleName | undefined> {
    const trusted = await this.#head.readRef(nameRef("trusted", name));
    const chain = await this.#list(await this.#head.readRef(nameRef("chain", name)), "chain");
    const heads = trusted === undefined ? chain : [trusted, ...chain];
    if (heads.length > 0) return this.#addChain(work, name, [...heads].sort());
    const manifest = await this.#head.readRef(nameRef("quarantined", name));
    if (manifest === undefined) return undefined;
    await this.#addBytes(work, manifest);
    return { name: name.text, heads: [], manifest, state: "quarantined" };
  }

  async #addChain(work: Work, name: Name, heads: readonly Digest[]): Promise<BundleName> {
    const states = new Set<BundleState>();
    const named = new Set<Digest>();
    for (const id of heads) {
      const { value } = await this.statement(id);
      states.add(value.state);
      named.add(value.manifest);
      if (value.state === "trusted") await this.#addBytes(work, value.manifest);
    }
    const bases = await this.#addAncestry(work, heads);
    const spare = await findSpare(this.#sender.objects, work.claims.values(), bases);
    for (const [blob, chunks] of spare) work.spare.set(blob, chunks);
    const [state = "several"] = states;
    const [manifest] = [...named].filter((id) => work.manifests.has(id));
    if (states.size > 1 || named.size > 1) return { name: name.text, heads, state: "several" };
    return { name: name.text, heads, ...(manifest === undefined ? {} : { manifest }), state };
  }

  /**
   * The statements from `heads` back to the first, and their manifests: a chain is judged, and kept, as a whole. Of what
   * was never promoted where it was revoked the manifest may never have come here; its revocation travels on all the same.
   * @returns chunk lists of blobs in these that the receiver has
   */
  async #addAncestry(work: Work, heads: readonly Digest[]): Promise<ReadonlySet<Digest>> {
    const { blobs } = this.#request;
    const bases = new Set<Digest>();
    const open = [...heads];
    const seen = new Set<Digest>();
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      if (seen.has(id)) continue;
      seen.add(id);
      const statement = await this.statement(id);
      open.push(...statement.value.previous);
      const { state, manifest } = statement.value;
      const isHere = state === "trusted" || (await this.#sender.objects.read(manifest)) !== undefined;
      const files = isHere ? (await this.#addManifest(work, manifest)).value.files : [];
      for (const { sha256, chunks } of files)
        if (typeof blobs === "object" && chunks !== undefined && blobs.has(sha256)) bases.add(chunks);
      work.statements.set(id, await this.#items(statement, "coffer-statement"));
    }
    return bases;
  }

  async #addCandidate(work: Work, id: Digest): Promise<void> {
    const statement = await this.statement(id);
    await this.#addAncestry(work, statement.value.previous);
    await this.#addManifest(work, statement.value.manifest);
    await this.#addEvidence(work, statement.value.manifest);
    work.statements.set(id, await this.#items(statement, "coffer-statement"));
  }

  /** A manifest whose bytes are to be used: with its evidence, and its blobs unless they stay here. */
  async #addBytes(work: Work, id: Digest): Promise<void> {
    const { value } = await this.#addManifest(work, id);
    const misnamed = await this.#addEvidence(work, id);
    const { blobs } = this.#request;
    if (blobs === "none") return;
    for (const { path, sha256, size, chunks } of value.files) {
      // The bytes are not what it says: they go with a manifest that is right about them, or not at all.
      if (misnamed.has(path)) continue;
      if (work.claims.has(sha256) || (blobs !== "all" && blobs.has(sha256))) continue;
      await this.#checkBlob(sha256, size);
      work.claims.set(sha256, { sha256, size, ...(chunks === undefined ? {} : { chunks }) });
      if (chunks !== undefined) work.opaque.set(chunks, [chunkListItem(chunks, size)]);
    }
  }

  /** Its bytes are hashed when they are sent; that they are there at all is asked before the first volume is cut. */
  async #checkBlob(blob: Digest, size: number): Promise<void> {
    const stat = await statKept(this.#sender.files, blobPath(blob));
    if (stat === undefined) {
      throw new CofferError("OBJECT_NOT_FOUND", `blob ${short(blob)} is not here; without blobs: --no-blobs`);
    }
    if (stat.kind === "file" && stat.sizeBytes === size) return;
    throw new CofferError("CORRUPT", `blob ${short(blob)}: expected ${size} bytes, found ${stat.sizeBytes}`);
  }

  async #addManifest(work: Work, id: Digest): Promise<Stored<Manifest>> {
    const manifest = await this.manifest(id);
    work.manifests.set(id, await this.#items(manifest, "coffer-manifest"));
    return manifest;
  }

  /** @returns files of which this store has found that the manifest says what is not so of their bytes */
  async #addEvidence(work: Work, manifest: Digest): Promise<ReadonlySet<string>> {
    const misnamed = new Set<string>();
    const { keyId } = this.#sender.storeKey;
    for (const id of await this.#list(await this.#head.readRef(evidenceRef(manifest)), "list of evidence")) {
      const evidence = await readObject(this.#sender.objects, id, "evidence", parseEvidence);
      const items = await this.#items(evidence, "coffer-evidence");
      work.evidence.set(id, items);
      await this.#addReport(work, evidence.value.report);
      if (!items.some((item) => item.kind === "signature" && item.keyId === keyId)) continue;
      for (const { code, path } of evidence.value.findings)
        if (MISNAMED.has(code) && path !== undefined) misnamed.add(path);
    }
    return misnamed;
  }

  /** A longer report: it need not be here. */
  async #addReport(work: Work, id: Digest | undefined): Promise<void> {
    const bytes = id === undefined ? undefined : await this.#sender.objects.read(id);
    if (id !== undefined && bytes !== undefined) work.opaque.set(id, [object(id, bytes.length)]);
  }

  async #items(stored: Stored<unknown>, namespace: SignatureNamespace): Promise<readonly Item[]> {
    const items = this.#signed.get(stored.id) ?? (await signedItems(this.#sender, stored, namespace, this.#keys));
    this.#signed.set(stored.id, items);
    return items;
  }

  #list(id: Digest | undefined, what: string): Promise<readonly Digest[]> {
    return readIds(this.#sender, id, what);
  }

  /** @throws CofferError CORRUPT - missing or damaged */
  async statement(id: Digest): Promise<Stored<Statement>> {
    if (this.#lastStatement?.id === id) return this.#lastStatement;
    this.#lastStatement = await readObject(this.#sender.objects, id, "statement", parseStatement);
    return this.#lastStatement;
  }

  /** @throws CofferError CORRUPT - missing or damaged */
  async manifest(id: Digest): Promise<Stored<Manifest>> {
    if (this.#lastManifest?.id === id) return this.#lastManifest;
    this.#lastManifest = await readObject(this.#sender.objects, id, "manifest", parseManifest);
    return this.#lastManifest;
  }
}

/** What this store finds of a manifest as it compares it with the bytes (repo/import/blobs.ts). */
const MISNAMED: ReadonlySet<string> = new Set([SIZE_DIFFERS, CHUNKS_DIFFER]);

async function readIds({ objects }: Sender, id: Digest | undefined, what: string): Promise<readonly Digest[]> {
  return id === undefined ? [] : (await readObject(objects, id, what, parseList)).value.ids;
}

/** An object with the signatures of everybody in the policy, and of the store: those that verify. */
async function signedItems(
  { files }: Sender,
  { id, bytes }: Stored<unknown>,
  namespace: SignatureNamespace,
  keys: readonly PublicKey[],
): Promise<readonly Item[]> {
  const signers = await signersOf(files, { id, bytes }, namespace, keys);
  const items: Item[] = [object(id, bytes.length)];
  for (const keyId of [...signers].sort()) {
    const stat = await statKept(files, signaturePath(id, keyId));
    if (stat === undefined) throw new CofferError("CORRUPT", `signature over ${short(id)} went away while it was read`);
    items.push({ kind: "signature", object: id, keyId, sizeBytes: stat.sizeBytes });
  }
  return items;
}

const object = (id: Digest, sizeBytes: number): Item => ({ kind: "object", id, sizeBytes });

/** 32 bytes for each chunk of the blob. */
function chunkListItem(id: Digest, blobBytes: number): Item {
  return object(id, Math.ceil(blobBytes / LIMITS.chunkBytes) * 32);
}
