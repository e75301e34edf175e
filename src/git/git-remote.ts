// SPDX-License-Identifier: Apache-2.0
/**
 * A branch on a git host as a place for files: read its newest commit, put another one after it. Over smart HTTP, in memory;
 * isomorphic-git lists the branches and pushes. Layer: git.
 *
 * Nothing from there is believed: what comes is a map of paths to bytes, which whoever asked checks by SHA-256 and by
 * signatures, and what a path may be is said by the caller. Not here: what the files mean (sync).
 */
import git from "isomorphic-git";
import { CofferError, isCofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { quote } from "../base/quote.ts";
import { checkAuthorities, type Login, loginFields } from "../base/web.ts";
import { fetchRequest, packIn } from "./fetch-pack.ts";
import { askGit, failed, gitHttp, type HttpLimits, type HttpWays } from "./git-http.ts";
import { entriesOf, type GitId, type GitObject, gitBlob, gitCommit, treeOf, treeOfCommit } from "./git-object.ts";
import { MemoryFs } from "./memory-fs.ts";
import { makePack } from "./pack.ts";
import { type PackLimits, readPack } from "./pack-reader.ts";

export interface GitHost {
  /** http or https, without a user. */
  readonly url: string;
  /** Sent with every request over https, and to this machine itself; nowhere else. */
  readonly auth?: Login;
  /** Of https: certificate authorities in PEM, in place of those that Node.js knows. */
  readonly authorities?: string;
}

export interface BranchFiles {
  readonly commit: GitId;
  /** Size in bytes by path, in the order of paths. */
  readonly sizes: ReadonlyMap<string, number>;
  /** @throws CofferError REMOTE_FAILED - it is not among what the host sent */
  read(path: string): Promise<Uint8Array>;
}

/** Metadata of some 100,000 models. */
const HTTP: HttpLimits = { answerBytes: 1024 ** 3, silenceMs: 120_000, workMs: 1_800_000 };
/** Branches by their names, and what becomes of a push: some 200,000 names. */
const TALK: HttpLimits = { ...HTTP, answerBytes: 16 * 1024 ** 2 };
/** Metadata as it is held in memory. */
const METADATA_BYTES = 2 * HTTP.answerBytes;
const PACK: PackLimits = {
  // Every item is a file, and what is signed has a folder for its signatures; beside these some hundred folders.
  objects: 2 * LIMITS.bundleItems + 1000,
  // The index is the longest file.
  objectBytes: LIMITS.bundleIndexBytes,
  bytes: METADATA_BYTES,
};
const GITDIR = "/repository";
/** objects/ab/<hex>, signatures/ab/<hex>/<key id>.sig. */
const DEEPEST = 4;

function isGitId(text: string): text is GitId {
  return /^[0-9a-f]{40}$/.test(text);
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield await Promise.resolve(bytes);
}

/**
 * The files of a branch's newest commit.
 * @returns undefined if the host has no such branch
 * @throws CofferError REMOTE_FAILED, REMOTE_DENIED, LIMIT_EXCEEDED; USAGE - authorities that are none
 */
export async function fetchBranch(host: GitHost, branch: string): Promise<BranchFiles | undefined> {
  const repository = new Repository(host);
  const tip = await repository.fetch(branch);
  return tip === undefined ? undefined : repository.files(tip);
}

/** What one push did. */
export interface PushedBranch {
  readonly commit: GitId;
  /** False if the branch held exactly these files. */
  readonly moved: boolean;
}

/**
 * Puts a commit of `files` after the branch's newest one; makes the branch if there is none.
 *
 * @param after - the commit that the branch must be at: what was read there; undefined: there must be no branch
 * @throws CofferError REMOTE_MOVED - the branch is elsewhere; REMOTE_FAILED - also where the host refuses the push
 */
export async function pushBranch(
  host: GitHost,
  branch: string,
  after: GitId | undefined,
  files: ReadonlyMap<string, Uint8Array>,
  commit: { readonly seconds: number; readonly message: string },
): Promise<PushedBranch> {
  const repository = new Repository(host);
  const tip = await repository.fetch(branch);
  if (tip !== after) {
    const shown = (id: GitId | undefined): string => (id === undefined ? "no commit" : id.slice(0, 12));
    const text = `${branch} on the git host: expected ${shown(after)}, as it was last seen from here`;
    throw new CofferError("REMOTE_MOVED", `${text}, found ${shown(tip)}`);
  }
  return repository.push(branch, tip, files, commit);
}

class Repository {
  private readonly host: GitHost;
  private readonly fs = new MemoryFs(METADATA_BYTES);
  private readonly cache = {};
  /** All that the host sent. */
  private received: ReadonlyMap<GitId, GitObject> = new Map();

  /** @throws CofferError USAGE - authorities that are none */
  constructor(host: GitHost) {
    this.host = host;
    if (host.authorities !== undefined) checkAuthorities(host.authorities);
  }

  private get common() {
    const { url } = this.host;
    const asking = { url, headers: this.headers, corsProxy: "", onAuthFailure: () => ({ cancel: true }) };
    return { ...asking, http: gitHttp({ ...this.ways, ...TALK }) };
  }

  private get headers(): Record<string, string> {
    return { ...loginFields(new URL(this.host.url), this.host.auth) };
  }

  private get ways(): HttpWays {
    const { authorities } = this.host;
    return { ...HTTP, ...(authorities === undefined ? {} : { authorities }) };
  }

  /** Runs a call of the library; whatever it says went wrong is told as the host's. */
  private async call<T>(what: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      if (isCofferError(error, "REMOTE_FAILED") && !error.message.startsWith("http"))
        throw failed(this.host.url, error.message, error);
      if (error instanceof CofferError || !(error instanceof Error)) throw error;
      const text = error.message.replaceAll(this.host.url, "it").slice(0, 300);
      throw failed(this.host.url, `cannot ${what}: ${quote(text, 300)}`, error);
    }
  }

  /** Gets the branch's newest commit, without those before it. */
  async fetch(branch: string): Promise<GitId | undefined> {
    const ref = `refs/heads/${branch}`;
    const { url } = this.host;
    const found = await this.call("list branches", () =>
      git.listServerRefs({ ...this.common, prefix: ref, protocolVersion: 2 }),
    );
    const oid = found.find((one) => one.ref === ref)?.oid;
    if (oid === undefined) return undefined;
    if (!isGitId(oid)) throw failed(url, `cannot list branches: expected an id, found ${quote(oid, 60)}`);
    await this.call("fetch the branch", () => this.takePack(oid));
    return oid;
  }

  /** Gets a commit and what it holds. The library never sees it as it came: it unpacks without bounds. */
  private async takePack(commit: GitId): Promise<void> {
    const request = {
      url: `${this.host.url.replace(/\/$/, "")}/git-upload-pack`,
      method: "POST",
      headers: {
        ...{ "content-type": "application/x-git-upload-pack-request", "git-protocol": "version=2" },
        ...{ accept: "application/x-git-upload-pack-result", ...this.headers },
      },
      body: pieces(fetchRequest(commit)),
    };
    const { statusCode, bytes } = await askGit(request, this.ways);
    if (statusCode !== 200) throw new Error(`it answered ${statusCode}`);
    this.received = readPack(packIn(bytes), PACK);
  }

  /** @param tip - what `fetch` gave */
  files(tip: GitId): BranchFiles {
    const found = new Map<string, GitObject>();
    this.walk(this.treeOf(tip), "", found, new Set());
    const sorted = [...found].sort(([a], [b]) => (a < b ? -1 : 1));
    const read = async (path: string): Promise<Uint8Array> => {
      const file = found.get(path);
      if (file === undefined) throw failed(this.host.url, `the branch has no ${quote(path, 200)}`);
      return file.content;
    };
    return { commit: tip, sizes: new Map(sorted.map(([path, { content }]) => [path, content.length])), read };
  }

  private object(kind: GitObject["kind"], id: GitId): GitObject {
    const object = this.received.get(id);
    if (object?.kind === kind) return object;
    throw failed(this.host.url, `expected the ${kind} ${id.slice(0, 12)}, found ${object?.kind ?? "none"}`);
  }

  private treeOf(commit: GitId): GitId {
    const tree = treeOfCommit(this.object("commit", commit).content);
    if (tree === undefined) throw failed(this.host.url, `expected a commit with a tree, found another`);
    return tree;
  }

  /**
   * @param seen - what was met already. On a branch of ours everything is there once, each file under its digest or the
   * name of who signed; where the same may be met again, a few trees are as many files as one likes.
   */
  private walk(tree: GitId, folder: string, found: Map<string, GitObject>, seen: Set<GitId>, depth = 0): void {
    const refuse = (what: string): never => {
      throw failed(this.host.url, `the branch has ${what}`);
    };
    if (depth > DEEPEST) refuse(`folders below ${quote(folder, 200)}`);
    for (const entry of entriesOf(this.object("tree", tree).content)) {
      const { name, mode, id } = entry ?? refuse(`no folder at ${quote(folder, 200)}`);
      const path = `${folder}${name}`;
      if (found.has(path)) refuse(`${quote(path, 200)} twice`);
      if (mode !== "40000" && mode !== "100644") refuse(`a link or a program at ${quote(path, 200)}`);
      if (seen.has(id)) refuse(`at ${quote(path, 200)} what it has elsewhere, too`);
      seen.add(id);
      if (mode === "40000") this.walk(id, `${path}/`, found, seen, depth + 1);
      else found.set(path, this.object("blob", id));
    }
  }

  async push(
    branch: string,
    tip: GitId | undefined,
    files: ReadonlyMap<string, Uint8Array>,
    { seconds, message }: { readonly seconds: number; readonly message: string },
  ): Promise<PushedBranch> {
    const { root, objects } = treeOf(new Map([...files].map(([path, bytes]) => [path, gitBlob(bytes)])));
    if (tip !== undefined && this.treeOf(tip) === root) return { commit: tip, moved: false };
    const commit = gitCommit({ tree: root, parents: tip === undefined ? [] : [tip], seconds, message });
    // The library looks for what the host has already, by the trees of the newest commit.
    const theirs = [...this.received.values()].filter(({ kind }) => kind !== "blob");
    const once = new Map([...theirs, ...objects, commit].map((object) => [object.id, object]));
    const ref = `refs/heads/${branch}`;
    const { fs, cache } = this;
    const local = { fs, cache, gitdir: GITDIR };
    await this.call("begin", () => git.init({ fs, gitdir: GITDIR, bare: true }));
    const { name, pack, index } = makePack([...once.values()]);
    fs.writeFile(`${GITDIR}/objects/pack/${name}.pack`, pack);
    fs.writeFile(`${GITDIR}/objects/pack/${name}.idx`, index);
    if (tip !== undefined) fs.writeFile(`${GITDIR}/shallow`, `${tip}\n`);
    await this.call("set the branch", () => git.writeRef({ ...local, ref, value: commit.id, force: true }));
    const done = await this.call("push", () =>
      git.push({ ...local, ...this.common, ref, remoteRef: ref, remote: "origin", force: false }),
    );
    const result = done.refs[ref];
    /* c8 ignore start: the library throws by itself where a host refuses; this holds should it ever stop doing so */
    if (!done.ok || result?.ok !== true) {
      throw failed(
        this.host.url,
        `the host refused the push: ${quote(result?.error ?? done.error ?? "no reason", 200)}`,
      );
    }
    /* c8 ignore stop */
    return { commit: commit.id, moved: true };
  }
}
