// SPDX-License-Identifier: Apache-2.0
/**
 * `git export`: makes the bare repository under `git/` say what the store says now. A branch for each name that is
 * trusted, with git-lfs pointers; for each that was revoked, a page that says so. Layer: repo.
 * docs/format.md, "The git projection".
 */
import type { Digest } from "../base/digest.ts";
import { CofferError, passOthers } from "../base/errors.ts";
import type { Name, NameText } from "../base/names.ts";
import { nameRef } from "../base/ref-path.ts";
import type { GitId, GitObject } from "../git/git-object.ts";
import { branchOf, commitOf } from "../git/projection.ts";
import type { ManifestFile } from "../objects/documents/manifest.ts";
import type { HeadView } from "../refs/head-view.ts";
import { type Policies, readHeadIds, readManifest, readPolicies, readStatement } from "./dossier.ts";
import { GitFiles } from "./git-files.ts";
import { openNames } from "./names.ts";
import { judge } from "./resolve.ts";
import type { Store } from "./store.ts";

export interface GitExported {
  /** The log entry that the branches show. */
  readonly entry: number;
  readonly trusted: number;
  readonly revoked: number;
  /** One to clone, of a trusted name if there is any; HEAD names none. */
  readonly branch?: string;
  /** Commits, trees and pointers that were not there before. */
  readonly objects: number;
  /** Files copied for git-lfs. */
  readonly copied: number;
  /** Files that git-lfs may fetch no longer. */
  readonly removed: number;
  /** Names that could not be read; they have no branch. */
  readonly damaged: readonly { readonly name: NameText; readonly error: CofferError }[];
}

/** So often it starts again because the store moved meanwhile. */
const ATTEMPTS = 8;
const PAGE = 1000;

/**
 * Makes or renews the projection. Whoever reads it during that sees the branches from before or from after.
 * @throws CofferError REF_MOVED - the store moved each time; NO_STORE_KEY; NO_SPACE, IO_ERROR
 */
export async function exportGit(store: Store): Promise<GitExported> {
  await store.needSigner(); // who may not write the store may not write its projection
  await store.sweep();
  const git = new GitFiles(store);
  await git.prepare();
  let [objects, copied, removed] = [0, 0, 0];
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const head = await store.head();
    const plan = await planBranches(store, head, await git.packed());
    copied += await copyFiles(store, git, plan);
    await git.addObjects([...plan.objects.values()]);
    objects += plan.objects.size;
    await git.setBranches(new Map(plan.names.map(({ branch, commit }) => [branch, commit])));
    removed += await git.keepLfs(new Set(plan.names.flatMap(({ files }) => files.map(({ sha256 }) => sha256))));
    const trusted = plan.names.filter(({ isTrusted }) => isTrusted).length;
    const counts = { trusted, revoked: plan.names.length - trusted, objects, copied, removed };
    const shown = plan.names.find(({ isTrusted }) => isTrusted) ?? plan.names[0];
    const branch = shown === undefined ? {} : { branch: shown.branch.replace("refs/heads/", "") };
    // A file that a revocation took away may have been copied again by now: only an export of the newest head is done.
    if ((await store.head()).number === head.number)
      return { entry: head.number, damaged: plan.damaged, ...counts, ...branch };
  }
  throw new CofferError("REF_MOVED", `the store moved ${ATTEMPTS} times while it was exported`);
}

/** A name that has a branch. */
interface Projected {
  readonly name: NameText;
  readonly branch: string;
  readonly commit: GitId;
  readonly isTrusted: boolean;
  /** What git-lfs may fetch of it. */
  readonly files: readonly ManifestFile[];
}

interface Plan {
  names: readonly Projected[];
  /** Not packed yet. */
  readonly objects: Map<GitId, GitObject>;
  readonly damaged: { name: NameText; error: CofferError }[];
}

/** @returns how many were copied; a name of which one is damaged or missing loses its branch */
async function copyFiles(store: Store, git: GitFiles, plan: Plan): Promise<number> {
  const whole: Projected[] = [];
  let copied = 0;
  for (const projected of plan.names) {
    try {
      for (const file of projected.files) if (await git.addLfs(store, file)) copied += 1;
      whole.push(projected);
    } catch (error) {
      passOthers(error, "CORRUPT");
      plan.damaged.push({ name: projected.name, error });
    }
  }
  plan.names = whole;
  return copied;
}

async function planBranches(store: Store, head: HeadView, packed: ReadonlySet<GitId>): Promise<Plan> {
  const names: Projected[] = [];
  const plan: Plan = { names, objects: new Map(), damaged: [] };
  const policies = await readPolicies(store, head);
  const commits = new Commits(store, packed, plan.objects);
  for await (const name of namesAt(store, head)) {
    try {
      const projected = await planName(store, head, policies, name, commits);
      if (projected !== undefined) names.push(projected);
    } catch (error) {
      passOthers(error, "CORRUPT", "UNSUPPORTED", "OBJECT_MISMATCH");
      plan.damaged.push({ name: name.text, error });
    }
  }
  return plan;
}

/** Names that were promoted or revoked at some time. */
async function* namesAt(store: Store, head: HeadView): AsyncGenerator<Name> {
  const names = await openNames(store, head, { mayWrite: true });
  try {
    let after: Name | undefined;
    do {
      const page = await names.list("n", { limit: PAGE, ...(after === undefined ? {} : { after: after.text }) });
      for (const name of page) if (await hasChain(head, name)) yield name;
      after = page.length < PAGE ? undefined : page.at(-1);
    } while (after !== undefined);
  } finally {
    await names.close();
  }
}

async function hasChain(head: HeadView, name: Name): Promise<boolean> {
  for (const family of ["trusted", "chain"] as const)
    if ((await head.readRef(nameRef(family, name))) !== undefined) return true;
  return false;
}

/** undefined if the name has no branch now. */
async function planName(
  store: Store,
  head: HeadView,
  policies: Policies,
  name: Name,
  commits: Commits,
): Promise<Projected | undefined> {
  const { trusted, standing } = await judge(store, head, name, policies);
  if (!trusted && standing !== "revoked" && standing !== "deleted") return undefined;
  const [deciding] = await statementsIn(store, head, name, standing);
  if (deciding === undefined)
    throw new CofferError("CORRUPT", `${name.text}: expected a head that decides, found none`);
  const named = { name: name.text, branch: branchOf(name), commit: await commits.of(deciding), isTrusted: trusted };
  if (!trusted) return { ...named, files: [] };
  const { manifest } = (await readStatement(store, deciding)).value;
  return { ...named, files: (await readManifest(store, manifest)).value.files.filter(({ size }) => size > 0) };
}

/** The heads of the state that decides; of several, the same first one for everybody. */
async function statementsIn(store: Store, head: HeadView, name: Name, standing: string): Promise<Digest[]> {
  const found: Digest[] = [];
  for (const id of await readHeadIds(store, head, name)) {
    if ((await readStatement(store, id)).value.state === standing) found.push(id);
  }
  return found.sort();
}

/** Commits of statements, each made once, ancestors first. */
class Commits {
  private readonly store: Store;
  private readonly packed: ReadonlySet<GitId>;
  private readonly objects: Map<GitId, GitObject>;
  private readonly made = new Map<Digest, GitId>();

  constructor(store: Store, packed: ReadonlySet<GitId>, objects: Map<GitId, GitObject>) {
    this.store = store;
    this.packed = packed;
    this.objects = objects;
  }

  /** @throws CofferError CORRUPT - a statement before it, or a manifest, is missing */
  async of(id: Digest): Promise<GitId> {
    const open = [id];
    for (let next = open.at(-1); next !== undefined; next = open.at(-1)) {
      const { value } = await readStatement(this.store, next);
      const before = value.previous.filter((parent) => !this.made.has(parent));
      if (before.length > 0) open.push(...before);
      else {
        await this.make(next);
        open.pop();
      }
    }
    return this.known(id);
  }

  private known(id: Digest): GitId {
    const commit = this.made.get(id);
    /* c8 ignore next: for the types alone; only a fault of this program leads here */
    if (commit === undefined) throw new CofferError("INTERNAL", "a commit before its parents");
    return commit;
  }

  private async make(id: Digest): Promise<void> {
    if (this.made.has(id)) return;
    const statement = await readStatement(this.store, id);
    const { value } = statement;
    const manifest = value.state === "trusted" ? await readManifest(this.store, value.manifest) : undefined;
    const parents = value.previous.map((parent) => this.known(parent));
    const { commit, objects } = commitOf(statement, manifest, parents);
    for (const object of objects) if (!this.packed.has(object.id)) this.objects.set(object.id, object);
    this.made.set(id, commit);
  }
}
