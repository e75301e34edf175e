// SPDX-License-Identifier: Apache-2.0
/**
 * A bundle taken apart, to be changed and put together again as its sender could: members that any path may have, an index
 * that is signed anew, notes that fit. Layer: test support. Not here: what is changed (mutate.ts).
 */
import { createHash } from "node:crypto";
import { encodeCanonical } from "../../../src/base/canonical-json.ts";
import { type Digest, digestFromBytes, sha256 } from "../../../src/base/digest.ts";
import { isCofferError } from "../../../src/base/errors.ts";
import type { Signer } from "../../../src/keys/signer.ts";
import { type SignatureNamespace, signSshsig } from "../../../src/keys/sshsig.ts";
import { encodeTarHeader, memberBytes, paddingBytes, readTarHeader } from "../../../src/sync/tar.ts";
import { INDEX_PATH, indexSignaturePath, makeVolumeNote, NOTE_PATH } from "../../../src/sync/volume-note.ts";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface Member {
  path: string;
  bytes: Buffer;
}

export interface Loose {
  index: { [key: string]: Json };
  volumes: Member[][];
  /** Done to the index once it fits the members. */
  lies: ((index: { [key: string]: Json }) => void)[];
  /** Signed by people of the policy once more: what comes of it is theirs to answer for. */
  insider: boolean;
  /** Whoever signs the index in place of the store that it names. */
  stranger: boolean;
}

const BLOCK = 512;

/** Members of a volume as far as headers can be read. */
export function membersOf(volume: Buffer): Member[] {
  const found: Member[] = [];
  for (let at = 0; at + BLOCK <= volume.length; ) {
    const header = volume.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) break;
    try {
      const { path, sizeBytes } = readTarHeader(header, "volume");
      found.push({ path, bytes: volume.subarray(at + BLOCK, at + BLOCK + sizeBytes) });
      at += memberBytes(sizeBytes);
    } catch (error) {
      if (!isCofferError(error)) throw error;
      break;
    }
  }
  return found;
}

/** undefined: its index cannot be read. */
export function takeApart(volumes: readonly Buffer[]): Loose | undefined {
  const all = volumes.map(membersOf);
  const text = all[0]?.find(({ path }) => path === INDEX_PATH)?.bytes.toString("utf8") ?? "";
  const index = parsed(Buffer.from(text));
  if (index === undefined) return undefined;
  return {
    index,
    volumes: all.map((members) => members.filter(({ path }) => !path.startsWith("bundle/"))),
    ...{ lies: [], insider: false, stranger: false },
  };
}

export function parsed(bytes: Buffer): { [key: string]: Json } | undefined {
  try {
    const value: Json = JSON.parse(bytes.toString("utf8"));
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}

/** In the one encoding where there is one. */
export function encoded(value: Json): Buffer {
  try {
    return Buffer.from(encodeCanonical(value as Parameters<typeof encodeCanonical>[0]));
  } catch {
    return Buffer.from(`${JSON.stringify(value)}\n`); // what has no such encoding is refused for that
  }
}

function header(path: string, sizeBytes: number): Buffer {
  try {
    return Buffer.from(encodeTarHeader({ path, sizeBytes }));
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return Buffer.from(encodeTarHeader({ path: path.slice(0, 99), sizeBytes }));
  }
}

function packed({ path, bytes }: Member): Buffer {
  return Buffer.concat([header(path, bytes.length), bytes, Buffer.alloc(paddingBytes(bytes.length))]);
}

export async function putTogether(loose: Loose, store: Signer, stranger: Signer): Promise<Buffer[]> {
  const index = structuredClone(loose.index);
  index["items"] = loose.volumes.flatMap((members) => members.map(({ path, bytes }) => [path, bytes.length]));
  index["volumes"] = loose.volumes.map(({ length }) => length);
  for (const lie of loose.lies) lie(index);
  const bytes = encoded(index);
  const signer = loose.stranger ? stranger : store;
  const armored = Buffer.from(await signSshsig(signer, "coffer-bundle", bytes));
  const front = [
    packed({ path: INDEX_PATH, bytes }),
    packed({ path: indexSignaturePath(store.publicKey.keyId), bytes: armored }),
  ];
  const of = loose.volumes.length;
  return loose.volumes.map((members, at) => {
    const body = Buffer.concat([...front, ...members.map(packed)]);
    const hash = digestFromBytes(createHash("sha256").update(body).digest());
    const note = makeVolumeNote({ index: sha256(bytes), number: at + 1, of, sha256: hash });
    return Buffer.concat([body, packed({ path: NOTE_PATH, bytes: Buffer.from(note.bytes) }), Buffer.alloc(2 * BLOCK)]);
  });
}

const fanned = (id: string): string => `${id.slice(0, 2)}/${id.slice(2)}`;

/**
 * Puts other bytes in an object's place, and its new name wherever the old one stands: in the index, in paths, in the
 * documents that name it, whose names change with them.
 */
export function readdress(loose: Loose, member: Member, bytes: Buffer, depth = 0): void {
  const from = member.path.slice("objects/".length).replace("/", "");
  const to: Digest = sha256(bytes);
  member.bytes = bytes;
  member.path = `objects/${fanned(to)}`;
  loose.index = JSON.parse(JSON.stringify(loose.index).replaceAll(from, to));
  const users: Member[] = [];
  for (const other of loose.volumes.flat()) {
    other.path = other.path.replace(fanned(from), fanned(to));
    if (other !== member && other.path.startsWith("objects/") && other.bytes.includes(from)) users.push(other);
  }
  if (depth > 5) return;
  for (const user of users) {
    readdress(loose, user, Buffer.from(user.bytes.toString("latin1").replaceAll(from, to), "latin1"), depth + 1);
  }
}

/** Sets of the index in the order that they have to have. */
export function sortSets(loose: Loose): void {
  for (const name of ["revocations", "refusals", "evidence"]) {
    const set = loose.index[name];
    if (Array.isArray(set)) set.sort();
  }
  const names = loose.index["names"];
  for (const entry of Array.isArray(names) ? names : []) {
    if (typeof entry !== "object" || entry === null || Array.isArray(entry)) continue;
    const { heads } = entry;
    if (Array.isArray(heads)) heads.sort();
  }
}

const SIGNATURE = /^signatures\/([0-9a-f]{2})\/([0-9a-f]{62})\/([0-9a-f]{64})\.sig$/;

/** Every signature again, by those who signed before. */
export async function resign(loose: Loose, signers: readonly Signer[]): Promise<void> {
  const members = loose.volumes.flat();
  for (const member of members) {
    const [, first = "", rest = "", keyId = ""] = SIGNATURE.exec(member.path) ?? [];
    const signer = signers.find(({ publicKey }) => publicKey.keyId === keyId);
    const object = members.find(({ path }) => path === `objects/${first}/${rest}`);
    const type = object && parsed(object.bytes)?.["type"];
    if (signer === undefined || object === undefined || typeof type !== "string") continue;
    const namespace = type.replace("/", "-") as SignatureNamespace;
    member.bytes = Buffer.from(await signSshsig(signer, namespace, object.bytes));
  }
}
