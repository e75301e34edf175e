// SPDX-License-Identifier: Apache-2.0
/**
 * What comes from a store with another policy root: its models go into quarantine after our own inspection, and what its
 * people signed is kept, and counts for nothing here. Layer: repo. Not here: the same root (adoption.ts).
 *
 * What its people revoke binds what was adopted from there and nothing else: it does not land, and where it landed before
 * this store puts evidence on record that says so (kind `upstream`, result `fail`), which everybody reads who approves it.
 */
import { type Digest, short } from "../../base/digest.ts";
import { CofferError, isCofferError } from "../../base/errors.ts";
import { type Name, parseLabel, parseName } from "../../base/names.ts";
import { evidenceRef, nameRef, remoteRef } from "../../base/ref-path.ts";
import type { Finding } from "../../formats/inspect.ts";
import { type Evidence, parseEvidence } from "../../objects/documents/evidence.ts";
import type { Manifest } from "../../objects/documents/manifest.ts";
import { parsePolicy } from "../../objects/documents/policy.ts";
import type { Stored } from "../../objects/documents/schema.ts";
import { NOTHING_REVOKED, type Statement } from "../../objects/documents/statement.ts";
import type { HeadView } from "../../refs/head-view.ts";
import type { BundleName } from "../../sync/bundle-index.ts";
import { whyUnauthorised } from "../../trust/authorised.ts";
import { signedBy } from "../../trust/roles.ts";
import { type Policies, readList, readNamed } from "../dossier.ts";
import { ownEvidence } from "../inspection.ts";
import { inspectOne, quarantineChange, recordOwn, type Work } from "./adoption.ts";
import { type Applied, applyChanges, type Change } from "./apply.ts";
import { everybodyIn, signersIn, Unions } from "./denials.ts";
import { unauthorisedText } from "./words.ts";

const UPSTREAM = parseLabel("upstream");

/** A model that is to land, and what is said of it where it comes from. */
interface Landing {
  readonly name: Name;
  readonly manifest: Stored<Manifest>;
  readonly said: string;
}

/** The policy that another store says it has. @throws CofferError BUNDLE_INVALID, UNSUPPORTED */
export async function foreignPolicies({ arrivals, index }: Pick<Work, "arrivals" | "index">): Promise<Policies> {
  const [id, ...later] = index.value.policies;
  const bytes = id === undefined ? undefined : await arrivals.bytes(id);
  if (id === undefined || bytes === undefined)
    throw new CofferError("BUNDLE_INVALID", "expected its policy, found none");
  if (later.length > 0) {
    throw new CofferError("UNSUPPORTED", `expected a policy chain of one version, found ${later.length + 1}`);
  }
  const policy = parsePolicy(bytes);
  if (policy.value.root !== index.value.root) {
    throw new CofferError("BUNDLE_INVALID", "the policy that came is not of the root that the index names");
  }
  return [policy];
}

export class Quarantine {
  readonly #work: Work;
  /** The other store's. */
  readonly #theirs: Policies;
  readonly #unions = new Unions();
  readonly #kept: Digest[] = [];
  readonly #landings: Landing[] = [];
  readonly #revokedManifests = new Map<Digest, Stored<Statement>>();
  readonly #revokedBlobs = new Map<Digest, Stored<Statement>>();
  readonly landed = new Set<string>();

  constructor(work: Work, theirs: Policies) {
    this.#work = work;
    this.#theirs = theirs;
  }

  async prepare(): Promise<void> {
    const { writer, index, arrivals } = this.#work;
    for (const id of index.value.policies) {
      const policy = await arrivals.document("coffer/policy", id);
      if (policy === undefined) continue;
      await writer.addSigned(policy, "coffer-policy", await arrivals.signatures("coffer/policy", policy));
      this.#kept.push(id);
    }
    await this.#keepWords();
    for (const entry of index.value.names) await this.#plan(entry);
    await writer.flush();
  }

  /** Statements, refusals and evidence with a good signature of theirs; their revocations are remembered on the way. */
  async #keepWords(): Promise<void> {
    const { arrivals, writer } = this.#work;
    for (const kind of ["coffer/statement", "coffer/refusal", "coffer/evidence"] as const) {
      for (const id of arrivals.idsOf(kind)) {
        const document = await arrivals.document(kind, id);
        const good = document === undefined ? [] : await arrivals.signatures(kind, document);
        if (document === undefined || good.length === 0) continue;
        const namespace = `coffer-${kind.slice("coffer/".length)}` as
          | "coffer-statement"
          | "coffer-refusal"
          | "coffer-evidence";
        await writer.addSigned(document, namespace, good);
        this.#kept.push(id);
      }
    }
    for (const id of arrivals.idsOf("coffer/statement")) {
      const statement = await arrivals.document("coffer/statement", id);
      if (statement?.value.state !== "revoked") continue;
      const good = await arrivals.signatures("coffer/statement", statement);
      const signers = signersIn(good, everybodyIn(this.#theirs));
      if (whyUnauthorised(this.#theirs, { ...statement, signers }, new Set()) !== undefined) continue;
      const { manifests, blobs } = statement.value.revokes ?? NOTHING_REVOKED;
      for (const manifest of manifests) this.#revokedManifests.set(manifest, statement);
      for (const blob of blobs) this.#revokedBlobs.set(blob, statement);
    }
  }

  #revocationOf(manifest: Stored<Manifest>): Stored<Statement> | undefined {
    const blob = manifest.value.files.find(({ sha256 }) => this.#revokedBlobs.has(sha256));
    return this.#revokedManifests.get(manifest.id) ?? (blob && this.#revokedBlobs.get(blob.sha256));
  }

  async #plan({ name: text, heads, manifest: id, state }: BundleName): Promise<void> {
    const { blobs, refusedNames, writer } = this.#work;
    if (state !== "trusted" && state !== "quarantined") {
      refusedNames.set(text, { code: "NOT_TRUSTED", text: `${text} is ${state} in the store that it comes from` });
      return;
    }
    const manifest = id === undefined ? undefined : await blobs.manifest(id);
    if (manifest === undefined) {
      refusedNames.set(text, { code: "OBJECT_NOT_FOUND", text: `${text} came without its manifest` });
      return;
    }
    const said = state === "trusted" ? await this.#saidOf(text, heads, manifest) : `quarantined in ${this.#where()}`;
    if (said === undefined) return;
    const revocation = this.#revocationOf(manifest);
    if (revocation !== undefined) {
      refusedNames.set(text, { code: "REVOKED", text: revokedText(revocation) });
      return;
    }
    await writer.add(manifest);
    await blobs.keepChunkLists(manifest.value);
    await blobs.want(manifest.value, false);
    this.#landings.push({ name: parseName(text), manifest, said });
  }

  #where(): string {
    const { store, root } = this.#work.index.value;
    return `store ${short(store)}, whose policy root is ${short(root)}`;
  }

  /** Who trusts it there, by their own policy; undefined if nobody does, which is told. */
  async #saidOf(text: string, heads: readonly Digest[], manifest: Stored<Manifest>): Promise<string | undefined> {
    const { arrivals, refusedNames, writer } = this.#work;
    const everybody = everybodyIn(this.#theirs);
    const published = await arrivals.signatures("coffer/manifest", manifest);
    for (const id of heads) {
      const statement = await arrivals.document("coffer/statement", id);
      if (statement?.value.name.text !== text || statement.value.manifest !== manifest.id) continue;
      const good = await arrivals.signatures("coffer/statement", statement);
      const signers = signersIn(good, everybody);
      const why = whyUnauthorised(this.#theirs, { ...statement, signers }, signersIn(published, everybody));
      if (why !== undefined) {
        refusedNames.set(text, unauthorisedText(statement, why));
        return undefined;
      }
      await writer.addSigned(manifest, "coffer-manifest", published);
      const [policy] = this.#theirs;
      const who = policy === undefined ? [] : signedBy(policy.value, [...policy.value.principals.keys()], signers);
      return `trusted in ${this.#where()}: statement ${short(id)}, signed by ${who.join(", ")}`;
    }
    refusedNames.set(text, { code: "OBJECT_NOT_FOUND", text: `${text} came without the statement that trusts it` });
    return undefined;
  }

  async finish(head: HeadView, more: readonly Change[]): Promise<Applied> {
    const { store, blobs, writer, index, note, most } = this.#work;
    await blobs.completeAll();
    const changes: Change[] = [];
    for (const landing of this.#landings) changes.push(...(await this.#land(head, landing)));
    await this.#tellRevoked(head);
    this.#unions.add(remoteRef(index.value.store, "kept"), this.#kept);
    await writer.flush();
    const applied = await applyChanges(store, [...changes, ...this.#unions.changes(), ...more], note, most);
    await writer.confirm();
    await blobs.confirm();
    return applied;
  }

  async #land(head: HeadView, { name, manifest, said }: Landing): Promise<Change[]> {
    const { store, blobs, refusedNames } = this.#work;
    const refuse = (code: "BUNDLE_INCOMPLETE" | "ADMISSION_REFUSED" | "EXISTS", text: string): Change[] => {
      refusedNames.set(name.text, { code, text });
      return [];
    };
    if (!blobs.isWhole(manifest.value)) return refuse("BUNDLE_INCOMPLETE", "not all of its bytes came, or lie here");
    const held = await head.readRef(nameRef("quarantined", name));
    if (held !== undefined && held !== manifest.id)
      return refuse("EXISTS", "other bytes wait in quarantine by this name");
    try {
      if (!(await inspectOne(this.#work, head, name, manifest, this.#unions, "nothing of a fail"))) {
        return refuse(
          "ADMISSION_REFUSED",
          `${name.text} fails inspection: ${this.#work.failed.get(manifest.id) ?? ""}`,
        );
      }
    } catch (error) {
      if (!isCofferError(error, "CORRUPT", "OBJECT_MISMATCH")) throw error;
      refusedNames.set(name.text, { code: error.code, text: error.message });
      return [];
    }
    this.#kept.push(manifest.id); // so that a revocation there finds it again
    await this.#say(head, manifest.id, "info", [{ code: "upstream-trusted", level: "info", text: said }]);
    return held === manifest.id ? [] : [quarantineChange(store, name, manifest.id, this.landed)];
  }

  /** What landed from there before, and is revoked there now. */
  async #tellRevoked(head: HeadView): Promise<void> {
    const { store, blobs, index, notes } = this.#work;
    if (this.#revokedManifests.size + this.#revokedBlobs.size === 0) return;
    for (const id of await readList(
      store,
      await head.readRef(remoteRef(index.value.store, "kept")),
      "list of objects",
    )) {
      const manifest = await blobs.manifest(id);
      const revocation = manifest && this.#revocationOf(manifest);
      if (revocation === undefined) continue;
      const text = revokedText(revocation);
      notes.add(`manifest ${short(id)}, which came from there: ${text}`);
      await this.#say(head, id, "fail", [{ code: "upstream-revoked", level: "fail", text }]);
    }
  }

  /** Once: the same words are not put on record again. */
  async #say(
    head: HeadView,
    manifest: Digest,
    result: Evidence["result"],
    findings: readonly Finding[],
  ): Promise<void> {
    const { store } = this.#work;
    for (const id of await readList(store, await head.readRef(evidenceRef(manifest)), "list of evidence")) {
      const value = (await readNamed(store, id, parseEvidence))?.value;
      if (value?.kind === UPSTREAM && value.findings[0]?.text === findings[0]?.text) return;
    }
    const evidence = ownEvidence(UPSTREAM, manifest, result, findings, store.ports.clock());
    await recordOwn(this.#work, evidence, this.#unions);
  }
}

function revokedText({ id, value }: Stored<Statement>): string {
  const because = value.reason === undefined ? "" : `: ${value.reason}`;
  return `revoked where it comes from, by statement ${short(id)} of ${value.name.text}${because}`;
}
