// SPDX-License-Identifier: Apache-2.0
/**
 * What a store looks like to git: which branch a name is, which commit a statement is, which file a manifest's file is.
 * Pure functions of documents, so that every store makes the same commits of the same statements. Layer: git.
 * Format: docs/format.md, "The git projection". Not here: what is trusted, and where it is written (repo/git-export.ts).
 */
import { type Digest, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import { timeSeconds } from "../base/time.ts";
import type { Manifest, ManifestFile } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { Statement } from "../objects/documents/statement.ts";
import { type GitId, type GitObject, gitBlob, gitCommit, treeOf } from "./git-object.ts";

/** The branch that carries the metadata itself. */
export const METADATA_BRANCH = "coffer";

/**
 * The branch of a name. A namespace `coffer` is written `coffer_`, which no namespace can be, since a ref cannot be
 * both the branch of the metadata and a folder of branches.
 */
export function branchOf({ namespace, model, version }: Name): string {
  const first = namespace === METADATA_BRANCH ? `${METADATA_BRANCH}_` : namespace;
  return `refs/heads/${first}/${model}/${version}`;
}

/**
 * Where a file of a manifest lies in the work tree. A part that git or git-lfs would take for its own settings gets a `_`
 * in front, and so does one that looks like an answer of this rule: no two paths meet.
 */
export function treePath(path: string): string {
  return path
    .split("/")
    .map((part) => (/^_*(?:\.git|\.lfsconfig$)/i.test(part) ? `_${part}` : part))
    .join("/");
}

/** Everything is LFS's but what is ours; no line endings are touched anywhere. */
const ATTRIBUTES = `* filter=lfs diff=lfs merge=lfs -text
/.gitattributes !filter !diff !merge -text
/.coffer/** !filter !diff !merge -text
`;

/** https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md; an empty file is its own pointer. */
export function lfsPointer({ sha256, size }: Pick<ManifestFile, "sha256" | "size">): string {
  if (size === 0) return "";
  return `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${size}\n`;
}

/** Where git-lfs keeps an object, below the repository. */
export function lfsPath(blob: Digest): string {
  return `lfs/objects/${blob.slice(0, 2)}/${blob.slice(2, 4)}/${blob}`;
}

export interface ProjectedCommit {
  readonly commit: GitId;
  readonly objects: readonly GitObject[];
}

/**
 * The commit of a statement: a function of the statement alone, and of what its digests name.
 *
 * @param manifest - of a trusted statement; else it is not part of the commit
 * @param parents - commits of the statements in `previous`, in that order
 */
export function commitOf(
  statement: Stored<Statement>,
  manifest: Stored<Manifest> | undefined,
  parents: readonly GitId[],
): ProjectedCommit {
  const { value } = statement;
  const files = new Map<string, GitObject>([
    [".gitattributes", gitBlob(ATTRIBUTES)],
    [".coffer/statement.json", gitBlob(statement.bytes)],
  ]);
  if (value.state !== "trusted") files.set("REVOKED.md", gitBlob(revokedPage(statement)));
  else if (manifest?.id !== value.manifest)
    throw new CofferError("INTERNAL", "a commit needs its statement's manifest");
  else {
    files.set(".coffer/manifest.json", gitBlob(manifest.bytes));
    for (const file of manifest.value.files) files.set(treePath(file.path), gitBlob(lfsPointer(file)));
  }
  const { root, objects } = treeOf(files);
  const message = `${value.state} ${value.name.text}\n\nstatement ${statement.id}\nmanifest ${value.manifest}`;
  const commit = gitCommit({ tree: root, parents, seconds: timeSeconds(value.issuedAt), message });
  return { commit: commit.id, objects: [...objects, commit] };
}

/** Markdown with the reason as a code block: it is somebody's free text, of one line. */
function revokedPage({ id, value }: Stored<Statement>): string {
  const reason = value.reason === undefined ? "" : `\nThe reason given:\n\n    ${value.reason}\n`;
  return `# ${value.name.text} is ${value.state}

Since ${value.issuedAt} its files are not to be used. Manifest: \`${short(value.manifest)}\`, statement: \`${short(id)}\`
(\`.coffer/statement.json\`, signed in the store that this was made from).
${reason}`;
}

/** Settings of the bare repository; `gc.auto 0` since the objects are ours to pack. */
export const GIT_CONFIG = `[core]
\trepositoryformatversion = 0
\tfilemode = false
\tbare = true
\twarnAmbiguousRefs = false
[gc]
\tauto = 0
[receive]
\tdenyDeletes = true
\tdenyNonFastForwards = true
`;

/** All branches in one file, which one rename puts in place. Format: git-pack-refs(1). */
export function packedRefs(branches: ReadonlyMap<string, GitId>): string {
  const lines = [...branches].sort(([a], [b]) => (a < b ? -1 : 1)).map(([ref, id]) => `${id} ${ref}\n`);
  return `# pack-refs with: peeled fully-peeled sorted \n${lines.join("")}`;
}
