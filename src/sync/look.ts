// SPDX-License-Identifier: Apache-2.0
/**
 * What a bundle brings, for the person who has to approve the transfer: from the index and the documents that come with
 * it. Layer: sync. All of it is the sender's word: signatures are only counted here, check.ts checks them.
 */
import type { Digest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { Label, NameText } from "../base/names.ts";
import type { Time } from "../base/time.ts";
import type { KeyId } from "../keys/public-key.ts";
import { type Manifest, parseManifest } from "../objects/documents/manifest.ts";
import { parsePolicy } from "../objects/documents/policy.ts";
import { parseStatement, type Statement } from "../objects/documents/statement.ts";
import type { BundleIndex, BundleName } from "./bundle-index.ts";
import { readWhole } from "./check.ts";
import type { Item, Source } from "./source.ts";

export interface Looked {
  readonly index: BundleIndex;
  readonly id: Digest;
  readonly names: readonly LookedName[];
  readonly candidates: readonly (LookedDocument & { readonly name: NameText })[];
  readonly revocations: readonly LookedDenial[];
  /** Of the policy that came with it: whose keys these are, as it says. */
  readonly people: ReadonlyMap<KeyId, Label>;
  readonly bytes: number;
  readonly blobs: { readonly count: number; readonly bytes: number };
}

/** A statement, or a manifest in quarantine, with the files that it is about. */
export interface LookedDocument {
  readonly statement?: Digest;
  readonly manifest?: Digest;
  /** Absent where the manifest is not at hand. */
  readonly files?: Manifest["files"];
  /** Keys whose signatures over the statement come with it. */
  readonly signers: readonly KeyId[];
}

export type LookedName = BundleName & LookedDocument;

export interface LookedDenial {
  readonly statement: Digest;
  /** Absent where the statement is not at hand. */
  readonly name?: NameText;
  readonly state?: Statement["state"];
  readonly issuedAt?: Time;
  readonly reason?: string;
}

/** @throws CofferError VOLUME_DAMAGED, BUNDLE_INVALID, IO_ERROR */
export async function lookInto(source: Source): Promise<Looked> {
  const { value: index, id } = source.index;
  const documents = await readDocuments(source);
  const signers = signersIn(index.items);
  const describe = (statement: Digest | undefined, manifest: Digest | undefined): LookedDocument => {
    const about = manifest ?? (statement && documents.statements.get(statement)?.manifest);
    const files = about && documents.manifests.get(about)?.files;
    return {
      ...(statement === undefined ? {} : { statement }),
      ...(about === undefined ? {} : { manifest: about }),
      ...(files === undefined ? {} : { files }),
      signers: statement === undefined ? [] : (signers.get(statement) ?? []),
    };
  };
  return {
    ...{ index, id, people: documents.people },
    names: index.names.map((entry) => ({ ...entry, ...describe(entry.heads[0], entry.manifest) })),
    candidates: index.candidates.map(({ name, statement }) => ({ name, ...describe(statement, undefined) })),
    revocations: index.revocations.map((statement) => denial(statement, documents.statements.get(statement))),
    bytes: sum(index.items),
    blobs: blobsIn(index.items),
  };
}

function denial(statement: Digest, value: Statement | undefined): LookedDenial {
  if (value === undefined) return { statement };
  const { name, state, issuedAt, reason } = value;
  return { statement, name: name.text, state, issuedAt, ...(reason === undefined ? {} : { reason }) };
}

interface Documents {
  readonly people: Map<KeyId, Label>;
  readonly statements: Map<Digest, Statement>;
  readonly manifests: Map<Digest, Manifest>;
}

/** The documents that the index names, as far as they are at hand and can be read. */
async function readDocuments(source: Source): Promise<Documents> {
  const { policies, names, candidates, revocations } = source.index.value;
  const found: Documents = { people: new Map(), statements: new Map(), manifests: new Map() };
  const isPolicy = new Set<Digest>(policies);
  const isStatement = new Set([
    ...revocations,
    ...names.flatMap(({ heads }) => heads),
    ...candidates.map(({ statement }) => statement),
  ]);
  const isManifest = new Set(names.flatMap(({ manifest }) => manifest ?? []));
  const wants = (item: Item): boolean =>
    item.kind === "object" && (isPolicy.has(item.id) || isStatement.has(item.id) || isManifest.has(item.id));
  for await (const parcel of source.parcels(wants)) {
    if (parcel.item.kind !== "object") continue;
    const { id } = parcel.item;
    const bytes = await readWhole(parcel);
    if (isPolicy.has(id)) {
      const { principals } = legible(parsePolicy, bytes) ?? { principals: [] };
      for (const [who, keys] of principals) for (const { keyId } of keys) found.people.set(keyId, who);
    } else if (isStatement.has(id)) {
      const statement = legible(parseStatement, bytes);
      if (statement === undefined) continue;
      found.statements.set(id, statement);
      isManifest.add(statement.manifest); // manifests come later than statements
    } else {
      const manifest = legible(parseManifest, bytes);
      if (manifest !== undefined) found.manifests.set(id, manifest);
    }
  }
  return found;
}

/** Looking goes on where one document cannot be read: what is not told was not found to be good. */
function legible<T>(parse: (bytes: Uint8Array) => { readonly value: T }, bytes: Uint8Array): T | undefined {
  try {
    return parse(bytes).value;
  } catch (error) {
    if (!(error instanceof CofferError)) throw error;
    return undefined;
  }
}

function signersIn(items: readonly Item[]): ReadonlyMap<Digest, KeyId[]> {
  const signers = new Map<Digest, KeyId[]>();
  for (const item of items) {
    if (item.kind !== "signature") continue;
    signers.set(item.object, [...(signers.get(item.object) ?? []), item.keyId]);
  }
  return signers;
}

const sum = (items: readonly Item[]): number => items.reduce((total, { sizeBytes }) => total + sizeBytes, 0);

function blobsIn(items: readonly Item[]): Looked["blobs"] {
  const blobs = items.filter((item) => item.kind === "blob");
  return { count: new Set(blobs.map(({ blob }) => blob)).size, bytes: sum(blobs) };
}
