// SPDX-License-Identifier: Apache-2.0
/**
 * What is to travel: from a head and the names that were chosen to the objects, signatures and blobs, small before large.
 * The policy chain, every revocation and every refusal always travel whole, whatever was asked for.
 * Layer: sync. Reads only; a pure function of the head, the files that it reaches and the request: no time, no chance.
 * Not here: cutting into volumes (cut.ts), which names a pattern means (repo).
 */
import { type Digest, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Name } from "../base/names.ts";
import { evidenceRef, nameRef, POLICY_REF, parseRefPath } from "../base/ref-path.ts";
import type { PublicKey } from "../keys/public-key.ts";
import type { SignatureNamespace } from "../keys/sshsig.ts";
import type { BlobClaim } from "../objects/blob-store.ts";
import { parseEvidence } from "../objects/documents/evidence.ts";
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
import type { BundleIndex, BundleName, BundleState } from "./bundle-index.ts";
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

type Listed = "root" | "policies" | "names" | "candidates" | "revocations" | "refusals" | "evidence";

/** What an index says of its documents, the items in travelling order with blobs still whole, and how blobs are read. */
export interface Plan extends Pick<BundleIndex, Listed> {
  readonly items: readonly Item[];
  readonly claims: ReadonlyMap<Digest, BlobClaim>;
  /** Chunks of these blobs that need not travel. */
  readonly spare: Spare;
}

/**
 * @throws CofferError NAME_NOT_FOUND - a name without chain, quarantine or (where these are asked for) candidate;
 *   CORRUPT - something that the head reaches is missing or damaged; OBJECT_NOT_FOUND - the bytes of a blob are not here
 */
export async function planBundle(sender: Sender, head: HeadView, request: PlanRequest): Promise<Plan> {
  return new Planner(sender, head, request).plan();
}

/** Documents of one kind on their way, by id. */
class Shelf {
  readonly ids = new Set<Digest>();
  readonly #items = new Map<Digest, readonly Item[]>();

  add(id: Digest, items: readonly Item[]): void {
    this.ids.add(id);
    this.#items.set(id, items);
  }

  sortedIds(): Digest[] {
    return [...this.ids].sort();
  }

  /** Each object with its signatures, sorted by id. */
  items(): readonly Item[] {
    return this.sortedIds().flatMap((id) => this.#items.get(id) ?? []);
  }
}

class Planner {
  readonly #sender: Sender;
  readonly #head: HeadView;
  readonly #request: PlanRequest;
  #keys: readonly PublicKey[] = [];
  readonly #denials = new Shelf();
  readonly #refusals = new Shelf();
  readonly #statements = new Shelf();
  readonly #manifests = new Shelf();
  readonly #evidence = new Shelf();
  readonly #opaque = new Shelf();
  readonly #claims = new Map<Digest, BlobClaim>();
  readonly #spare = new Map<Digest, ReadonlySet<number>>();

  constructor(sender: Sender, head: HeadView, request: PlanRequest) {
    this.#sender = sender;
    this.#head = head;
    this.#request = request;
  }

  async plan(): Promise<Plan> {
    const { root, policies, items } = await this.#planPolicies();
    await this.#planDenials();
    const names: BundleName[] = [];
    const candidates: { name: Name["text"]; statement: Digest }[] = [];
    for (const name of sortedNames(this.#request.names)) {
      const candidate = this.#request.candidates ? await this.#head.readRef(nameRef("proposed", name)) : undefined;
      const entry = await this.#planName(name);
      if (entry !== undefined) names.push(entry);
      if (candidate !== undefined)
        candidates.push({ name: name.text, statement: await this.#planCandidate(candidate) });
      if (entry === undefined && candidate === undefined) throw notThere(name, this.#request.candidates);
    }
    const shelves = [this.#denials, this.#refusals, this.#statements, this.#manifests, this.#evidence, this.#opaque];
    return {
      ...{ root, policies, names, candidates },
      revocations: this.#denials.sortedIds(),
      refusals: this.#refusals.sortedIds(),
      evidence: this.#evidence.sortedIds(),
      items: [...items, ...shelves.flatMap((shelf) => shelf.items()), ...this.#blobItems()],
      claims: this.#claims,
      spare: this.#spare,
    };
  }

  async #planPolicies(): Promise<{ root: Digest; policies: readonly Digest[]; items: readonly Item[] }> {
    const policies = await this.#list(await this.#head.readRef(POLICY_REF), "list of policies");
    const read = [];
    for (const id of policies) read.push(await readObject(this.#sender.objects, id, "policy", parsePolicy));
    const [first] = read;
    if (first === undefined) throw new CofferError("CORRUPT", "the store has no policy");
    const everybody = read.flatMap(({ value }) => keysOf(value, value.principals.keys()));
    this.#keys = [this.#sender.storeKey, ...everybody];
    const items: Item[] = [];
    for (const policy of read) items.push(...(await this.#signed(policy, "coffer-policy")));
    return { root: first.value.root, policies, items };
  }

  /** Every statement that revokes or deletes, and every refusal: the whole tree is walked, so that none is left out. */
  async #planDenials(): Promise<void> {
    for await (const [ref, id] of this.#head.listRefs()) {
      switch (parseRefPath(ref).family) {
        case "revoked":
        case "deleted":
          await this.#planDenial(id);
          break;
        case "revoked-bytes":
        case "chain":
        case "waiting":
          for (const one of await this.#list(id, "list of statements")) await this.#planDenial(one);
          break;
        case "refused":
          for (const one of await this.#list(id, "list of refusals")) await this.#planRefusal(one);
          break;
        default: // grants something, or nothing
      }
    }
  }

  async #planDenial(id: Digest): Promise<void> {
    if (this.#denials.ids.has(id)) return;
    const statement = await this.#statement(id);
    if (statement.value.state === "trusted") return;
    this.#denials.add(id, await this.#signed(statement, "coffer-statement"));
  }

  async #planRefusal(id: Digest): Promise<void> {
    if (this.#refusals.ids.has(id)) return;
    const refusal = await readObject(this.#sender.objects, id, "refusal", parseRefusal);
    this.#refusals.add(id, await this.#signed(refusal, "coffer-refusal"));
  }

  /** undefined if the name has neither a chain nor something in quarantine. */
  async #planName(name: Name): Promise<BundleName | undefined> {
    const trusted = await this.#head.readRef(nameRef("trusted", name));
    const chain = await this.#list(await this.#head.readRef(nameRef("chain", name)), "chain");
    const heads = trusted === undefined ? chain : [trusted, ...chain];
    if (heads.length > 0) return this.#planChain(name, [...heads].sort());
    const manifest = await this.#head.readRef(nameRef("quarantined", name));
    if (manifest === undefined) return undefined;
    await this.#planBytes(manifest);
    return { name: name.text, heads: [], manifest, state: "quarantined" };
  }

  async #planChain(name: Name, heads: readonly Digest[]): Promise<BundleName> {
    const known = this.#claims.size;
    const states = new Set<BundleState>();
    const manifests = new Set<Digest>();
    for (const id of heads) {
      const { value } = await this.#statement(id);
      states.add(value.state);
      manifests.add(value.manifest);
      if (value.state === "trusted") await this.#planBytes(value.manifest);
    }
    const bases = await this.#planAncestry(heads);
    const fresh = [...this.#claims.values()].slice(known);
    for (const [blob, chunks] of await findSpare(this.#sender.objects, fresh, bases)) this.#spare.set(blob, chunks);
    const [state = "several"] = states;
    const [manifest] = manifests;
    if (states.size > 1 || manifests.size > 1) return { name: name.text, heads, state: "several" };
    return { name: name.text, heads, ...(manifest === undefined ? {} : { manifest }), state };
  }

  /**
   * The statements from `heads` back to the first, and their manifests: a chain is judged, and kept, as a whole.
   * @returns chunk lists of blobs in these that the receiver has
   */
  async #planAncestry(heads: readonly Digest[]): Promise<ReadonlySet<Digest>> {
    const { blobs } = this.#request;
    const bases = new Set<Digest>();
    const open = [...heads];
    const seen = new Set<Digest>();
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      if (seen.has(id)) continue;
      seen.add(id);
      const statement = await this.#statement(id);
      open.push(...statement.value.previous);
      const { files } = (await this.#planManifest(statement.value.manifest)).value;
      for (const { sha256, chunks } of files)
        if (typeof blobs === "object" && chunks !== undefined && blobs.has(sha256)) bases.add(chunks);
      if (this.#denials.ids.has(id) || this.#statements.ids.has(id)) continue;
      this.#statements.add(id, await this.#signed(statement, "coffer-statement"));
    }
    return bases;
  }

  async #planCandidate(id: Digest): Promise<Digest> {
    const statement = await this.#statement(id);
    await this.#planAncestry(statement.value.previous);
    await this.#planManifest(statement.value.manifest);
    await this.#planEvidence(statement.value.manifest);
    if (!this.#statements.ids.has(id)) this.#statements.add(id, await this.#signed(statement, "coffer-statement"));
    return id;
  }

  /** A manifest whose bytes are to be used: with its evidence, and its blobs unless they stay here. */
  async #planBytes(id: Digest): Promise<void> {
    const { value } = await this.#planManifest(id);
    await this.#planEvidence(id);
    const { blobs } = this.#request;
    if (blobs === "none") return;
    for (const { sha256, size, chunks } of value.files) {
      if (this.#claims.has(sha256) || (blobs !== "all" && blobs.has(sha256))) continue;
      await this.#checkBlob(sha256, size);
      this.#claims.set(sha256, { sha256, size, ...(chunks === undefined ? {} : { chunks }) });
      if (chunks !== undefined) this.#opaque.add(chunks, [chunkListItem(chunks, size)]);
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

  async #planManifest(id: Digest): Promise<Stored<Manifest>> {
    const manifest = await readObject(this.#sender.objects, id, "manifest", parseManifest);
    if (!this.#manifests.ids.has(id)) this.#manifests.add(id, await this.#signed(manifest, "coffer-manifest"));
    return manifest;
  }

  async #planEvidence(manifest: Digest): Promise<void> {
    const ids = await this.#list(await this.#head.readRef(evidenceRef(manifest)), "list of evidence");
    for (const id of ids) {
      if (this.#evidence.ids.has(id)) continue;
      const evidence = await readObject(this.#sender.objects, id, "evidence", parseEvidence);
      this.#evidence.add(id, await this.#signed(evidence, "coffer-evidence"));
      await this.#planReport(evidence.value.report);
    }
  }

  /** A longer report: it need not be here. */
  async #planReport(id: Digest | undefined): Promise<void> {
    const bytes = id === undefined ? undefined : await this.#sender.objects.read(id);
    if (id !== undefined && bytes !== undefined) this.#opaque.add(id, [object(id, bytes.length)]);
  }

  /** An object with the signatures of everybody in the policy, and of the store: those that verify. */
  async #signed({ id, bytes }: Stored<unknown>, namespace: SignatureNamespace): Promise<readonly Item[]> {
    const { files } = this.#sender;
    const signers = await signersOf(files, { id, bytes }, namespace, this.#keys);
    const items: Item[] = [object(id, bytes.length)];
    for (const keyId of [...signers].sort()) {
      const stat = await statKept(files, signaturePath(id, keyId));
      if (stat === undefined)
        throw new CofferError("CORRUPT", `signature over ${short(id)} went away while it was read`);
      items.push({ kind: "signature", object: id, keyId, sizeBytes: stat.sizeBytes });
    }
    return items;
  }

  async #list(id: Digest | undefined, what: string): Promise<readonly Digest[]> {
    return id === undefined ? [] : (await readObject(this.#sender.objects, id, what, parseList)).value.ids;
  }

  #statement(id: Digest): Promise<Stored<Statement>> {
    return readObject(this.#sender.objects, id, "statement", parseStatement);
  }

  /** Smaller ones first: what is cut short has brought the more whole files. */
  #blobItems(): readonly Item[] {
    const claims = [...this.#claims.values()].sort((a, b) => a.size - b.size || (a.sha256 < b.sha256 ? -1 : 1));
    return claims.map(({ sha256, size }) => ({ kind: "blob", blob: sha256, sizeBytes: size }));
  }
}

const object = (id: Digest, sizeBytes: number): Item => ({ kind: "object", id, sizeBytes });

/** 32 bytes for each chunk of the blob. */
function chunkListItem(id: Digest, blobBytes: number): Item {
  return object(id, Math.ceil(blobBytes / LIMITS.chunkBytes) * 32);
}

/** Each once, in the order of their text. */
function sortedNames(names: readonly Name[]): readonly Name[] {
  const byText = new Map(names.map((name) => [name.text, name]));
  return [...byText.values()].sort((a, b) => (a.text < b.text ? -1 : 1));
}

function notThere(name: Name, candidates: boolean): CofferError {
  const what = candidates ? "a chain, a quarantined manifest or a candidate" : "a chain or a quarantined manifest";
  return new CofferError("NAME_NOT_FOUND", `${name.text}: expected ${what}, found none`);
}
