// SPDX-License-Identifier: Apache-2.0
/**
 * Files of the local index. A run says what the entries `from`+1 to `to` of the log changed, from key to key; a long
 * one has several parts. Each part ends in a footer that the store key has signed. Layer: repo.
 * Format: docs/format.md, "The local index". Not fsynced: what a power loss tears does not verify and is made again.
 */
import { encodeCanonical, parseCanonical } from "../../base/canonical-json.ts";
import { type Digest, sha256, short } from "../../base/digest.ts";
import { CofferError, isCofferError } from "../../base/errors.ts";
import type { PublicKey } from "../../keys/public-key.ts";
import type { Signer } from "../../keys/signer.ts";
import { checkSshsig, signSshsig } from "../../keys/sshsig.ts";
import {
  digest,
  documentOf,
  flag,
  integer,
  optional,
  record,
  required,
  type Schema,
  text,
} from "../../objects/documents/schema.ts";
import type { Files, NewFile, OpenFile } from "../../objects/files.ts";
import { createTemp, tempPath } from "../../objects/layout.ts";
import type { Store } from "../store.ts";
import type { EntryStream } from "./entries.ts";
import { PageTree, PageTreeWriter } from "./page-tree.ts";
import type { PageCodec, PageRef } from "./pages.ts";

export const INDEX_FOLDER = "local/index";
/** Keys in one part: what one act writes at most, some 5 MB in a fraction of a second. */
const PART_KEYS = 128 * 1024;
const NAMESPACE = "coffer-index";
/** The last bytes of a file: how long the footer before them is. */
const TRAILER_BYTES = 9;
const MOST_FOOTER_BYTES = 8192;

/** What a run covers: what entries `from`+1 to `to` of the log changed. */
export interface Span {
  readonly from: number;
  readonly to: number;
}
/** A file by its name. `last`: no part comes after it. */
export interface PartName extends Span {
  readonly part: number;
  readonly last: boolean;
}

const NAME = /^(0|[1-9][0-9]{0,11})-([1-9][0-9]{0,11})-(0|[1-9][0-9]{0,5})(\.end)?$/;

export function parsePartName(name: string): PartName | undefined {
  const [, from, to, part, end] = NAME.exec(name) ?? [];
  if (from === undefined || to === undefined || part === undefined) return undefined;
  return { from: Number(from), to: Number(to), part: Number(part), last: end !== undefined };
}

export function partPath({ from, to, part, last }: PartName): string {
  return `${INDEX_FOLDER}/${from}-${to}-${part}${last ? ".end" : ""}`;
}

export interface Footer extends Span {
  readonly store: Digest;
  /** Id of log entry `from`; absent for 0. */
  readonly base?: Digest;
  /** Id of log entry `to`. */
  readonly head: Digest;
  readonly part: number;
  readonly last: boolean;
  /** The part holds every key over this … */
  readonly after?: string;
  /** … up to this one; absent in the last part, which holds all that follow. */
  readonly until?: string;
  readonly keys: number;
  readonly root: PageRef;
}

const pageRef: Schema<PageRef> = record({
  offset: required(integer(0)),
  sizeBytes: required(integer(1)),
  sha256: required(digest),
});
const footerSchema: Schema<Footer> = documentOf("coffer/index", {
  store: required(digest),
  from: required(integer(0)),
  to: required(integer(1)),
  base: optional(digest),
  head: required(digest),
  part: required(integer(0)),
  last: required(flag),
  after: optional(text),
  until: optional(text),
  keys: required(integer(0)),
  root: required(pageRef),
});

export interface Part {
  readonly name: PartName;
  readonly footer: Footer;
  readonly file: OpenFile;
  readonly tree: PageTree;
}

/** What every part of one run says. */
export interface RunFacts extends Span {
  readonly base?: Digest;
  readonly head: Digest;
}

/**
 * Opens one part; it must be closed.
 *
 * @returns undefined if the file is gone
 * @throws CofferError CORRUPT - torn, altered, of another store, or not what its name says
 */
export async function openPart(
  files: Files,
  codec: PageCodec,
  name: PartName,
  store: { readonly id: Digest; readonly storeKey: PublicKey },
): Promise<Part | undefined> {
  const path = partPath(name);
  const file = await files.open(path);
  if (file === undefined) return undefined;
  try {
    const footer = readFooter(await footerBytes(file), store.storeKey);
    const { from, to, part, last } = footer;
    if (footer.store !== store.id) throw new CofferError("CORRUPT", `index of another store (${short(footer.store)})`);
    if (partPath({ from, to, part, last }) !== path) throw new CofferError("CORRUPT", "index under another name");
    return { name, footer, file, tree: new PageTree(file, codec, footer.root) };
  } catch (error) {
    await Promise.allSettled([file.close()]); // what was wrong before is what to tell
    if (isCofferError(error, "IO_ERROR", "INTERNAL") || !isCofferError(error)) throw error;
    throw new CofferError("CORRUPT", `${path}: ${error.message}`, { cause: error });
  }
}

async function footerBytes(file: OpenFile): Promise<Uint8Array> {
  const { sizeBytes } = await file.stat();
  const start = Math.max(0, sizeBytes - MOST_FOOTER_BYTES);
  const tail = new Uint8Array(sizeBytes - start);
  const found = tail.subarray(0, await file.read(tail, start));
  const trailer = Buffer.from(found.subarray(-TRAILER_BYTES)).toString("latin1");
  const size = /^[0-9a-f]{8}\n$/.test(trailer) ? Number.parseInt(trailer, 16) : 0;
  if (size === 0 || size + TRAILER_BYTES > found.length) {
    throw new CofferError("CORRUPT", "expected a footer at the end, found none");
  }
  return found.subarray(found.length - TRAILER_BYTES - size, found.length - TRAILER_BYTES);
}

/** Of footers that were found good of late, by key and bytes: a process opens the same files for each act. */
const goodFooters = new Map<string, Footer>();
const MOST_FOOTERS = 64;

function readFooter(bytes: Uint8Array, key: PublicKey): Footer {
  const which = `${key.keyId} ${sha256(bytes)}`;
  const footer = goodFooters.get(which) ?? checkFooter(bytes, key);
  goodFooters.set(which, footer);
  const [oldest] = goodFooters.keys();
  if (goodFooters.size > MOST_FOOTERS && oldest !== undefined) goodFooters.delete(oldest);
  return footer;
}

/** The signature first: nothing that the store key did not sign is looked at. */
function checkFooter(bytes: Uint8Array, key: PublicKey): Footer {
  const end = bytes.indexOf(0x0a) + 1;
  const line = bytes.subarray(0, end);
  if (!checkSshsig(bytes.subarray(end), NAMESPACE, line, key)) {
    throw new CofferError("CORRUPT", "expected the store key's signature over the footer, found none");
  }
  return footerSchema(parseCanonical(line, "index footer", MOST_FOOTER_BYTES), "index footer");
}

/**
 * Writes the next part of a run from what is left in `source`: all of it, or PART_KEYS keys.
 *
 * @returns the part; undefined if another writer has put one in its place
 * @throws CofferError NO_SPACE, IO_ERROR
 */
export async function writePart(
  store: Store,
  codec: PageCodec,
  run: RunFacts,
  position: { readonly part: number; readonly after?: string },
  source: EntryStream,
  partKeys = PART_KEYS,
): Promise<(PartName & { readonly until?: string }) | undefined> {
  const { files } = store;
  const temp = tempPath(store.files, store.ports.random);
  const file = await createTemp(files, temp, 0o444);
  try {
    const { name, until } = await fillPart(file, codec, store, run, position, source, partKeys);
    await file.close();
    await files.makeFolder(INDEX_FOLDER);
    const first = await files.link(temp, partPath(name));
    return first ? { ...name, ...(until === undefined ? {} : { until }) } : undefined;
  } finally {
    await Promise.allSettled([file.close(), files.remove(temp)]);
  }
}

async function fillPart(
  file: NewFile,
  codec: PageCodec,
  store: Store,
  run: RunFacts,
  { part, after }: { readonly part: number; readonly after?: string },
  source: EntryStream,
  partKeys: number,
) {
  const writer = new PageTreeWriter(file, codec);
  let keys = 0;
  let until: string | undefined;
  for (let entry = source.current; entry !== undefined && keys < partKeys; entry = source.current) {
    const wait = writer.add(entry);
    if (wait !== undefined) await wait;
    keys += 1;
    until = entry.key;
    const next = source.advance();
    if (next !== undefined) await next;
  }
  const last = source.current === undefined;
  const root = await writer.finish();
  const footer: Footer = {
    store: store.id,
    ...run,
    part,
    last,
    ...(after === undefined ? {} : { after }),
    ...(last || until === undefined ? {} : { until }),
    keys,
    root: { offset: root.offset, sizeBytes: root.sizeBytes, sha256: root.sha256 },
  };
  await file.write(await encodeFooter(footer, await store.needSigner()));
  return { name: { from: run.from, to: run.to, part, last }, until };
}

async function encodeFooter(footer: Footer, signer: Signer): Promise<Uint8Array> {
  const { root, ...facts } = footer;
  const line = encodeCanonical({ type: "coffer/index", version: 1, ...facts, root: { ...root } });
  const body = Buffer.concat([line, Buffer.from(await signSshsig(signer, NAMESPACE, line), "latin1")]);
  return Buffer.concat([body, Buffer.from(`${body.length.toString(16).padStart(8, "0")}\n`, "latin1")]);
}
