// SPDX-License-Identifier: Apache-2.0
/**
 * A branch on a git host as a place for files: read its newest commit, put another one after it. All through
 * isomorphic-git, over smart HTTP, in memory. Layer: git.
 *
 * Nothing from there is believed: what comes is a map of paths to bytes, which whoever asked checks by SHA-256 and by
 * signatures, and what a path may be is said by the caller. Not here: what the files mean (sync).
 */
import git from "isomorphic-git";
import { CofferError, isCofferError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";
import { checkAuthorities, type Login, loginFields } from "../base/web.ts";
import { fetchRequest, packIn } from "./fetch-pack.ts";
import { askGit, failed, gitHttp, type HttpLimits, type HttpWays, shownUrl } from "./git-http.ts";
import { type GitId, gitBlob, gitCommit, treeOf } from "./git-object.ts";
import { MemoryFs } from "./memory-fs.ts";
import { makePack } from "./pack.ts";

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
const LIMITS: HttpLimits = { answerBytes: 1024 ** 3, silenceMs: 120_000 };
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
  private readonly fs = new MemoryFs(2 * LIMITS.answerBytes);
  private readonly cache = {};

  /** @throws CofferError USAGE - authorities that are none */
  constructor(host: GitHost) {
    this.host = host;
    if (host.authorities !== undefined) checkAuthorities(host.authorities);
  }

  private get common() {
    const { url } = this.host;
    const asking = { url, headers: this.headers, corsProxy: "", onAuthFailure: () => ({ cancel: true }) };
    return { ...this.reading, ...asking, http: gitHttp(this.ways) };
  }

  private get headers(): Record<string, string> {
    return { ...loginFields(new URL(this.host.url), this.host.auth) };
  }

  private get ways(): HttpWays {
    const { authorities } = this.host;
    return { ...LIMITS, ...(authorities === undefined ? {} : { authorities }) };
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
    const { fs, gitdir } = this.reading;
    await this.call("begin", () => git.init({ fs, gitdir, bare: true }));
    await this.call("begin", () => git.addRemote({ fs, gitdir, remote: "origin", url: shownUrl(url) }));
    const found = await this.call("list branches", () =>
      git.listServerRefs({ ...this.common, prefix: ref, protocolVersion: 2 }),
    );
    const oid = found.find((one) => one.ref === ref)?.oid;
    if (oid === undefined) return undefined;
    if (!isGitId(oid)) throw failed(url, `cannot list branches: expected an id, found ${quote(oid, 60)}`);
    await this.call("fetch the branch", () => this.takePack(oid));
    return oid;
  }

  /** Puts the pack with a commit into the repository, and notes that nothing before that commit is here. */
  private async takePack(commit: GitId): Promise<void> {
    const { fs, gitdir } = this.reading;
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
    const { pack, objects } = packIn(bytes);
    const filepath = "objects/pack/pack-fetched.pack";
    fs.writeFile(`${gitdir}/${filepath}`, pack);
    const { oids } = await git.indexPack({ fs, dir: gitdir, gitdir, filepath, cache: this.cache });
    if (oids.length !== objects) throw new Error(`expected ${objects} objects in its pack, found ${oids.length}`);
    fs.writeFile(`${gitdir}/shallow`, `${commit}\n`);
  }

  /** @param tip - what `fetch` gave */
  async files(tip: GitId): Promise<BranchFiles> {
    const ids = new Map<string, string>();
    const { commit } = await this.call("read the commit", () => git.readCommit({ ...this.reading, oid: tip }));
    await this.walk(commit.tree, "", ids, 0);
    const read = async (path: string): Promise<Uint8Array> => {
      const oid = ids.get(path);
      if (oid === undefined) throw failed(this.host.url, `the branch has no ${quote(path, 200)}`);
      return (await this.call("read a file", () => git.readBlob({ ...this.reading, oid }))).blob;
    };
    const sizes = new Map<string, number>();
    for (const path of [...ids.keys()].sort()) sizes.set(path, (await read(path)).length);
    return { commit: tip, sizes, read };
  }

  private get reading() {
    return { fs: this.fs, gitdir: GITDIR, cache: this.cache };
  }

  private async walk(oid: string, folder: string, ids: Map<string, string>, depth: number): Promise<void> {
    if (depth > DEEPEST) throw failed(this.host.url, `the branch has folders below ${quote(folder, 200)}`);
    const { tree } = await this.call("read a folder", () => git.readTree({ ...this.reading, oid }));
    for (const { path, oid: id, type, mode } of tree) {
      const full = `${folder}${path}`;
      if (ids.has(full)) throw failed(this.host.url, `the branch has ${quote(full, 200)} twice`);
      if (type === "tree") await this.walk(id, `${full}/`, ids, depth + 1);
      else if (type === "blob" && mode === "100644") ids.set(full, id);
      else throw failed(this.host.url, `the branch has a link or a program at ${quote(full, 200)}`);
    }
  }

  async push(
    branch: string,
    tip: GitId | undefined,
    files: ReadonlyMap<string, Uint8Array>,
    { seconds, message }: { readonly seconds: number; readonly message: string },
  ): Promise<PushedBranch> {
    const { root, objects } = treeOf(new Map([...files].map(([path, bytes]) => [path, gitBlob(bytes)])));
    if (tip !== undefined) {
      const { commit } = await this.call("read the commit", () => git.readCommit({ ...this.reading, oid: tip }));
      if (commit.tree === root) return { commit: tip, moved: false };
    }
    const commit = gitCommit({ tree: root, parents: tip === undefined ? [] : [tip], seconds, message });
    const once = new Map([...objects, commit].map((object) => [object.id, object]));
    const { name, pack, index } = makePack([...once.values()]);
    this.fs.writeFile(`${GITDIR}/objects/pack/${name}.pack`, pack);
    this.fs.writeFile(`${GITDIR}/objects/pack/${name}.idx`, index);
    const ref = `refs/heads/${branch}`;
    await this.call("set the branch", () =>
      git.writeRef({ fs: this.fs, gitdir: GITDIR, ref, value: commit.id, force: true }),
    );
    const done = await this.call("push", () =>
      git.push({ ...this.common, ref, remoteRef: ref, remote: "origin", force: false }),
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
