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
import type { HeadView } from "../../refs/head-view.ts";
import { type BundleName, rootText } from "../../sync/bundle-index.ts";
import { fromBundle } from "../../sync/malformed.ts";
import { whyUnauthorised } from "../../trust/authorised.ts";
import { signedBy } from "../../trust/roles.ts";
import { type Policies, readList, readNamed } from "../dossier.ts";
import { ownEvidence } from "../inspection.ts";
import { inspectOne, quarantineChange, recordOwn, type Work } from "./adoption.ts";
import { type Applied, applyChanges, type Change } from "./apply.ts";
import { everybodyIn, signersIn, Unions } from "./denials.ts";
import { readIndex } from "./remotes.ts";
import { type Against, Upstream } from "./upstream.ts";
import { unauthorisedText } from "./words.ts";

const UPSTREAM = parseLabel("upstream");

interface Coming {
  readonly name: Name;
  readonly manifest: Stored<Manifest>;
  /** Of their chain; none where it only waits there. */
  readonly heads: readonly Digest[];
}

/** A model that is to land, and what is said of it where it comes from. */
interface Landing extends Coming {
  readonly said: Finding;
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
  const policy = fromBundle(() => parsePolicy(bytes));
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
  /** Models that came and may not land, but lie here. */
  readonly #deniedHere = new Map<Digest, Stored<Manifest>>();
  /** Than another bundle of that store which came before, and not together with this one. */
  #isOlder = false;
  /** What that store has said before. */
  #before: ReadonlySet<Digest> = new Set();

  constructor(work: Work, theirs: Policies) {
    this.#work = work;
    this.#theirs = theirs;
  }

  async prepare(head: HeadView): Promise<void> {
    const { store, writer, index, arrivals } = this.#work;
    for (const id of index.value.policies) {
      const policy = await arrivals.document("coffer/policy", id);
      if (policy === undefined) continue;
      await writer.addSigned(policy, "coffer-policy", await arrivals.signatures("coffer/policy", policy));
      this.#kept.push(id);
    }
    await this.#keepWords();
    const newest = await readIndex(store, head, index.value.store);
    const isBeside = this.#work.besideNewer;
    this.#isOlder = !isBeside && newest !== undefined && newest.value.log.number > index.value.log.number;
    const keptOfIt = await head.readRef(remoteRef(index.value.store, "kept"));
    this.#before = new Set(await readList(store, keptOfIt, "list of objects"));
    const upstream = await Upstream.gather(store, this.#theirs, arrivals, head, this.#work.beside);
    for (const entry of index.value.names) await this.#plan(upstream, entry);
    await writer.flush();
  }

  /** Statements, refusals and evidence with a good signature of theirs. */
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
  }

  async #plan(upstream: Upstream, { name: text, heads, manifest: id, state }: BundleName): Promise<void> {
    const { blobs, refusedNames, writer, old } = this.#work;
    if (state !== "trusted" && state !== "quarantined") {
      refusedNames.set(text, { code: "NOT_TRUSTED", text: `${text} is ${state} in the store that it comes from` });
      if (heads.length > 0 && heads.every((statement) => this.#before.has(statement))) old.add(text);
      return;
    }
    const manifest = id === undefined ? undefined : await blobs.manifest(id);
    if (manifest === undefined) {
      refusedNames.set(text, { code: "OBJECT_NOT_FOUND", text: `${text} came without its manifest` });
      return;
    }
    const coming = { name: parseName(text), manifest, heads };
    if (await this.#refuseDenied(upstream, coming)) return;
    const said = state === "trusted" ? await this.#saidOf(upstream, coming) : this.#waitsThere();
    if (said === undefined) return;
    await writer.add(manifest);
    await blobs.keepChunkLists(manifest.value);
    await blobs.want(manifest, false);
    this.#landings.push({ ...coming, said });
  }

  /** What is known against it there, by all that is known here: then it does not land. @returns true if there is something */
  async #refuseDenied(upstream: Upstream, { name, manifest, heads }: Coming, against?: Against): Promise<boolean> {
    const { refusedNames, store, old } = this.#work;
    const found = against ?? upstream.againstBytes(manifest)[0];
    if (found === undefined) return false;
    const { code, text, by } = found;
    refusedNames.set(name.text, { code, text });
    // Where somebody here has added the same bytes, that is said of these too.
    if ((await store.objects.read(manifest.id)) !== undefined) this.#deniedHere.set(manifest.id, manifest);
    const isKnown = heads.every((id) => this.#before.has(id)) && by.every((id) => upstream.kept.has(id));
    // Of an older bundle somebody asks what the newer one denied: that is told, unless it landed before.
    if (isKnown && (upstream.landed.has(manifest.id) || !this.#isOlder)) old.add(name.text);
    return true;
  }

  #waitsThere(): Finding {
    return { code: "upstream-quarantined", level: "info", text: `quarantined in ${this.#where()}` };
  }

  #where(): string {
    const { store, policies } = this.#work.index.value;
    return `store ${short(store)}, whose policy root is ${rootText(policies)}`;
  }

  /** Who trusts it there, by their own policy; undefined if nobody does, which is told. */
  async #saidOf(upstream: Upstream, coming: Coming): Promise<Finding | undefined> {
    const { manifest, heads } = coming;
    const { text } = coming.name;
    const { arrivals, refusedNames, writer } = this.#work;
    const everybody = everybodyIn(this.#theirs);
    const published = await arrivals.signatures("coffer/manifest", manifest);
    for (const id of heads) {
      const statement = await arrivals.document("coffer/statement", id);
      if (statement?.value.name.text !== text || statement.value.manifest !== manifest.id) continue;
      const good = await arrivals.signatures("coffer/statement", statement);
      const signers = signersIn(good, everybody);
      const publishers = signersIn(published, everybody);
      const why = whyUnauthorised(this.#theirs, { ...statement, signers }, publishers);
      const against = why === undefined ? await upstream.againstPromotion(statement, publishers) : undefined;
      if (why !== undefined) refusedNames.set(text, unauthorisedText(statement, why));
      if (against !== undefined) await this.#refuseDenied(upstream, coming, against);
      if (why !== undefined || against !== undefined) return undefined;
      await writer.addSigned(manifest, "coffer-manifest", published);
      const [policy] = this.#theirs;
      const who = policy === undefined ? [] : signedBy(policy.value, [...policy.value.principals.keys()], signers);
      const said = `trusted in ${this.#where()}: statement ${short(id)}, signed by ${who.join(", ")}`;
      return { code: "upstream-trusted", level: "info", text: said };
    }
    refusedNames.set(text, { code: "OBJECT_NOT_FOUND", text: `${text} came without the statement that trusts it` });
    return undefined;
  }

  async finish(head: HeadView, more: readonly Change[]): Promise<Applied> {
    const { store, arrivals, blobs, writer, index, note, most } = this.#work;
    await blobs.completeAll();
    const upstream = await Upstream.gather(store, this.#theirs, arrivals, head, this.#work.beside);
    const changes: Change[] = [];
    for (const landing of this.#landings) changes.push(...(await this.#land(head, upstream, landing)));
    await this.#tellDenied(head, upstream, this.#unions);
    this.#unions.add(remoteRef(index.value.store, "kept"), this.#kept);
    await writer.flush();
    const applied = await applyChanges(store, [...changes, ...this.#unions.changes(), ...more], note, most);
    await writer.confirm();
    await blobs.confirm();
    return { ...applied, entries: [...applied.entries, ...(await this.#tellLate(head, applied))] };
  }

  async #land(head: HeadView, upstream: Upstream, landing: Landing): Promise<Change[]> {
    const { store, blobs, refusedNames } = this.#work;
    const { name, manifest, said } = landing;
    const refuse = (code: "BUNDLE_INCOMPLETE" | "ADMISSION_REFUSED", text: string): Change[] => {
      refusedNames.set(name.text, { code, text });
      return [];
    };
    if (await this.#refuseDenied(upstream, landing)) return [];
    if (!blobs.isWhole(manifest.value)) return refuse("BUNDLE_INCOMPLETE", "not all of its bytes came, or lie here");
    const held = await head.readRef(nameRef("quarantined", name));
    if (held !== undefined && held !== manifest.id && !this.#mayReplace(upstream, landing, held)) return [];
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
    await this.#say(head, this.#unions, manifest.id, "info", [said]);
    return held === manifest.id ? [] : [quarantineChange(store, name, manifest.id, held)];
  }

  /** Only a newer version takes the place of one that came from there; what people here have added stays. */
  #mayReplace(upstream: Upstream, { name: { text }, heads }: Landing, held: Digest): boolean {
    const { refusedNames, notes } = this.#work;
    const came = upstream.landed.has(held);
    if (came && upstream.follows(text, heads, held)) {
      notes.add(`${text}: takes the place of manifest ${short(held)}, an older version from there that waited`);
      return true;
    }
    if (came && upstream.isFollowed(text, heads, held)) return false; // the newer one waits
    const other = `manifest ${short(held)} waits in quarantine by this name`;
    const why = came ? "and this is no newer version of it there" : "and did not come from there";
    const how = `to have these bytes wait instead, \`coffer add --name ${text}\` with their files`;
    refusedNames.set(text, { code: "EXISTS", text: `${other}, ${why}; ${how}` });
    return false;
  }

  /** What landed from there, now or before, and is denied there. @returns true if that was new for something */
  async #tellDenied(head: HeadView, upstream: Upstream, unions: Unions): Promise<boolean> {
    let isNew = false;
    for (const manifest of new Map([...upstream.landed, ...this.#deniedHere]).values()) {
      for (const { code, text } of await upstream.againstLanded(manifest)) {
        const finding = { code: `upstream-${code.toLowerCase()}`, level: "fail", text } as const;
        if (!(await this.#say(head, unions, manifest.id, "fail", [finding]))) continue;
        this.#work.notes.add(`manifest ${short(manifest.id)}, which came from there: ${text}`);
        isNew = true;
      }
    }
    return isNew;
  }

  /** Another import may have brought a model while this one brought what denies it, or the other way: the later one says so. */
  async #tellLate(before: HeadView, { entries }: Applied): Promise<readonly number[]> {
    const { store, arrivals, writer, note, most } = this.#work;
    const head = await store.head();
    if (head.number <= before.number + entries.length) return [];
    const unions = new Unions();
    const upstream = await Upstream.gather(store, this.#theirs, arrivals, head, this.#work.beside);
    if (!(await this.#tellDenied(head, upstream, unions))) return [];
    await writer.flush();
    const late = await applyChanges(store, unions.changes(), note, most);
    await writer.confirm();
    return late.entries;
  }

  /** Once: the same words are not put on record again. @returns false if they were there */
  async #say(
    head: HeadView,
    unions: Unions,
    manifest: Digest,
    result: Evidence["result"],
    findings: readonly Finding[],
  ): Promise<boolean> {
    const { store } = this.#work;
    for (const id of await readList(store, await head.readRef(evidenceRef(manifest)), "list of evidence")) {
      const value = (await readNamed(store, id, parseEvidence))?.value;
      if (value?.kind === UPSTREAM && value.findings[0]?.text === findings[0]?.text) return false;
    }
    const evidence = ownEvidence(UPSTREAM, manifest, result, findings, store.ports.clock());
    await recordOwn(this.#work, evidence, unions);
    return true;
  }
}
