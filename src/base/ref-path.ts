// SPDX-License-Identifier: Apache-2.0
/**
 * Full paths of refs. Only the families listed here exist; a path is made from parsed names and digests, never from input.
 * Layer: base. Format: docs/format.md, "Refs". Holds invariant 9.
 */
import { type Digest, isDigest } from "./digest.ts";
import { CofferError } from "./errors.ts";
import { ID_CHARS, type Name, nameFromParts, PART_CHARS } from "./names.ts";
import { quote } from "./quote.ts";

export type RefPath = string & { readonly __brand: "RefPath" };

/** Families whose refs are named `refs/<family>/<namespace>/<model>/<version>`. */
export const NAME_FAMILIES = [
  "acquired",
  "chain",
  "deleted",
  "deleting",
  "proposed",
  "quarantined",
  "revoked",
  "revoking",
  "trusted",
  "waiting",
] as const;
export type NameFamily = (typeof NAME_FAMILIES)[number];

/** What a revocation of bytes names. */
export type RevokedKind = "manifest" | "blob" | "statement";

/**
 * What is remembered of another store: the newest index that it sent, the two that show its log to be forked, and the list
 * of what it said that decides nothing here.
 */
export const REMOTE_KINDS = ["fork", "index", "kept"] as const;
export type RemoteKind = (typeof REMOTE_KINDS)[number];

/** What follows the family of a ref that is about a digest. */
const DIGESTS = "sha256/";

export const POLICY_REF = "refs/policy" as RefPath;

export function nameRef(family: NameFamily, name: Name): RefPath {
  return `refs/${family}/${name.namespace}/${name.model}/${name.version}` as RefPath;
}

export function revokedRef(digest: Digest, kind: RevokedKind): RefPath {
  return `refs/revoked/sha256/${digest}/${kind}` as RefPath;
}

export function refusedRef(statement: Digest): RefPath {
  return `refs/refused/sha256/${statement}` as RefPath;
}

export function evidenceRef(manifest: Digest): RefPath {
  return `refs/evidence/sha256/${manifest}` as RefPath;
}

/** The keys whose signatures over `object` were good when it entered: what is listed here must still be there. */
export function signersRef(object: Digest): RefPath {
  return `refs/signers/sha256/${object}` as RefPath;
}

/** Grants and denies nothing. */
export function remoteRef(store: Digest, kind: RemoteKind): RefPath {
  return `refs/remotes/${store}/${kind}` as RefPath;
}

/**
 * What a ref is about: its path without the family, and without the kind of a revocation. All refs of one name share it,
 * and so do all refs about one digest; no name's namespace is `sha256`. It holds at most one ref of each family. What is
 * remembered of another store has a group for each ref.
 */
export function groupOf(ref: RefPath): string {
  const rest = ref.slice("refs/".length);
  const group = rest.slice(rest.indexOf("/") + 1); // all of `policy`
  return group.startsWith(DIGESTS) ? group.slice(0, DIGESTS.length + 64) : group;
}
export type ParsedRef =
  | { readonly family: "policy" }
  | { readonly family: NameFamily; readonly name: Name }
  | { readonly family: "revoked-bytes"; readonly digest: Digest; readonly kind: RevokedKind }
  | { readonly family: "refused" | "evidence" | "signers"; readonly digest: Digest }
  | { readonly family: "remotes"; readonly store: Digest; readonly kind: RemoteKind };

function refuse(text: string): never {
  throw new CofferError("NAME_INVALID", `ref ${quote(text, 160)}: not a ref of this store format`);
}

/** @throws CofferError NAME_INVALID - not a ref that this version knows, in its one spelling */
export function parseRefPath(text: string): ParsedRef {
  if (text === POLICY_REF) return { family: "policy" };
  const [refs, family, first, second, third, ...rest] = text.split("/");
  if (refs !== "refs" || rest.length > 0 || first === undefined || second === undefined) return refuse(text);
  if (family === "remotes" && third === undefined && isDigest(first)) {
    const kind = REMOTE_KINDS.find((candidate) => candidate === second);
    return kind === undefined ? refuse(text) : { family, store: first, kind };
  }
  if (first === "sha256" && isDigest(second)) {
    if ((family === "refused" || family === "evidence" || family === "signers") && third === undefined)
      return { family, digest: second };
    if (family === "revoked" && (third === "manifest" || third === "blob" || third === "statement")) {
      return { family: "revoked-bytes", digest: second, kind: third };
    }
    return refuse(text);
  }
  const known = NAME_FAMILIES.find((candidate) => candidate === family);
  if (known === undefined || third === undefined) return refuse(text);
  const name = nameFromParts(first, second, third);
  return nameRef(known, name) === text ? { family: known, name } : refuse(text);
}

/** A ref path that `parseRefPath` accepts. @throws CofferError NAME_INVALID */
export function asRefPath(text: string): RefPath {
  parseRefPath(text);
  return text as RefPath;
}

const ABOUT_DIGEST =
  "(?:evidence|refused|signers)/sha256/[0-9a-f]{64}|revoked/sha256/[0-9a-f]{64}/(?:blob|manifest|statement)";
/** The start of a part that is a device name on Windows; a quote ends the ref in a leaf. */
const DEVICE = '(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:[./"]|$)';
const OF_NAME =
  `(?:${NAME_FAMILIES.join("|")})/` +
  `(?!sha256/|${DEVICE})[a-z0-9]+(?:[_-][a-z0-9]+)*/` +
  `(?!${DEVICE})[a-z0-9]+(?:[._-][a-z0-9]+)*(?<!\\.lock)/` +
  `(?!${DEVICE})[a-z0-9]+(?:[._-][a-z0-9]+)*(?<!\\.lock)`;
/**
 * Matches what `parseRefPath` accepts, and many times as fast, but for the limits of a name's parts (`hasShortParts`); what it
 * does not match may be a ref all the same. For other patterns: a ref there ends at a quote or the end of the text.
 */
export const COMMON_REF = `refs/(?:${ABOUT_DIGEST}|${OF_NAME})`;
/** Where the limits of a name's parts cannot matter. */
const SHORT = 80;

/** True for what `COMMON_REF` matches if it keeps the limits of a name's parts. */
export function hasShortParts(ref: string): boolean {
  if (ref.length < SHORT || ref.startsWith(DIGESTS, ref.indexOf("/", "refs/".length) + 1)) return true;
  return hasAllowedLengths(ref.split("/").slice(2));
}

function hasAllowedLengths(parts: readonly string[]): boolean {
  const [namespace = "", model = ""] = parts;
  return parts.every((part) => part.length <= PART_CHARS) && namespace.length + 1 + model.length <= ID_CHARS;
}
