// SPDX-License-Identifier: Apache-2.0
/**
 * One transaction of the log: line 1 is canonical JSON, after it the store key's armored SSHSIG over line 1.
 * Layer: refs. Format: docs/format.md, "The log". Holds invariants 2 and 4. Not here: where entries lie (log.ts).
 *
 * What is signed, and what the entry's id is the SHA-256 of, are the exact bytes of line 1 with its newline:
 * `head -1 entry | ssh-keygen -Y verify -n coffer-log …` and `head -1 entry | sha256sum` work.
 */
import { type CanonicalObject, encodeCanonical, parseCanonical } from "../base/canonical-json.ts";
import { type Digest, sha256 } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { formatTime, type Time } from "../base/time.ts";
import type { PublicKey } from "../keys/public-key.ts";
import type { Signer } from "../keys/signer.ts";
import { checkSshsig, signSshsig } from "../keys/sshsig.ts";
import {
  digest,
  documentOf,
  integer,
  optional,
  publicKey,
  record,
  refPath,
  refuseAt,
  required,
  type Schema,
  sortedBy,
  text,
  time,
} from "../objects/documents/schema.ts";
import { byRef } from "./ref-node.ts";
import type { Move } from "./ref-tree.ts";

const NAMESPACE = "coffer-log";
const NEWLINE = 0x0a;
/** Twelve digits: the length of an entry's file name. */
export const LAST_NUMBER = 999_999_999_999;

/** What every entry says. */
interface EntryFacts {
  /** 1, 2, 3 … */
  readonly number: number;
  /** When it was committed, by the writer's clock. */
  readonly time: Time;
  /** Root of the ref tree after this entry. */
  readonly refs: Digest;
  /** What it moved, sorted by ref; only entry 1 may move nothing. */
  readonly moves: readonly Move[];
  readonly note?: string;
}
/** Entry 1: the birth of a store. Its id is the store's. */
interface FirstFacts extends EntryFacts {
  readonly nonce: Digest;
  /** The key that signs this and all later entries. */
  readonly storeKey: PublicKey;
  readonly previous?: never;
  readonly store?: never;
}
interface LaterFacts extends EntryFacts {
  /** Id of the entry before. */
  readonly previous: Digest;
  /** Id of entry 1. */
  readonly store: Digest;
  readonly nonce?: never;
  readonly storeKey?: never;
}
export type LogFacts = FirstFacts | LaterFacts;

/** A parsed entry: SHA-256 of line 1, line 1 itself with its newline, and what it says. */
export interface LogLine {
  readonly id: Digest;
  readonly line: Uint8Array;
  readonly facts: LogFacts;
}

/** An entry whose signature verified. */
export interface LogEntry extends LogLine {
  /** The whole file. */
  readonly bytes: Uint8Array;
}

/** Who signs, and when, in seconds since 1970. */
export interface EntrySigning {
  readonly signer: Signer;
  readonly now: number;
}

const move: Schema<Move> = (value, at) => {
  const found = moveShape(value, at);
  return found.from === found.to ? refuseAt(at, "a change from one id to another") : found;
};
const moveShape = record({ ref: required(refPath), from: optional(digest), to: optional(digest) });

const common = {
  time: required(time),
  refs: required(digest),
  moves: required(sortedBy(move, (one) => one.ref, LIMITS.movesPerEntry)),
  note: optional(text),
};
const first: Schema<FirstFacts> = documentOf("coffer/log", {
  ...common,
  number: required(integer(1, 1)),
  nonce: required(digest),
  storeKey: required(publicKey),
});
const later: Schema<LaterFacts> = documentOf("coffer/log", {
  ...common,
  number: required(integer(2, LAST_NUMBER)),
  previous: required(digest),
  store: required(digest),
});
const schema: Schema<LogFacts> = (value, at) => {
  const isFirst = typeof value === "object" && "number" in value && value["number"] === 1;
  if (isFirst) return first(value, at);
  const facts = later(value, at);
  return facts.moves.length > 0 ? facts : refuseAt(`${at}.moves`, "at least one move");
};

/** The id of the store that an entry belongs to. */
export function storeIdOf({ id, facts }: LogLine): Digest {
  return facts.store ?? id;
}

/**
 * Reads line 1 without checking who signed it: for entries whose id is already known to be right.
 * @throws CofferError JSON_INVALID, DOCUMENT_INVALID, UNSUPPORTED, LIMIT_EXCEEDED
 */
export function parseEntryLine(bytes: Uint8Array): LogLine {
  const { line } = split(bytes);
  return {
    id: sha256(line),
    line,
    facts: schema(parseCanonical(line, "log entry", LIMITS.logEntryBytes), "log entry"),
  };
}

/**
 * Reads an entry and checks that `key` signed it; entry 1 must name that key too.
 *
 * @throws CofferError SIGNATURE_INVALID - anything but one canonical signature by `key` follows line 1
 * @throws CofferError JSON_INVALID, DOCUMENT_INVALID, UNSUPPORTED, LIMIT_EXCEEDED
 */
export function parseEntry(bytes: Uint8Array, key: PublicKey): LogEntry {
  const { line, armored } = split(bytes);
  // The signature first: only a version that the store key vouches for is worth the advice to use a newer program.
  if (!checkSshsig(armored, NAMESPACE, line, key)) {
    throw new CofferError("SIGNATURE_INVALID", "log entry: expected the store key's signature over line 1, found none");
  }
  const read = parseEntryLine(bytes);
  if (read.facts.storeKey !== undefined && read.facts.storeKey.keyId !== key.keyId) {
    throw new CofferError("DOCUMENT_INVALID", "log entry.storeKey: expected the key that signed, found another");
  }
  return { ...read, bytes };
}

function split(bytes: Uint8Array): { readonly line: Uint8Array; readonly armored: Uint8Array } {
  if (bytes.length > LIMITS.logEntryBytes) {
    const problem = `expected at most ${LIMITS.logEntryBytes} bytes, found ${bytes.length}`;
    throw new CofferError("LIMIT_EXCEEDED", `log entry: ${problem}`);
  }
  const end = bytes.indexOf(NEWLINE) + 1;
  if (end === 0) throw new CofferError("DOCUMENT_INVALID", "log entry: expected a line and a signature, found no line");
  return { line: bytes.subarray(0, end), armored: bytes.subarray(end) };
}

/** What differs from entry to entry; `moves` in any order. */
export interface EntryInput {
  readonly refs: Digest;
  readonly moves: readonly Move[];
  readonly note?: string | undefined;
}

/** Entry 1 of a new store. @param nonce - 32 random bytes, hex. @throws CofferError as `parseEntry` */
export async function makeFirstEntry(input: EntryInput, nonce: Digest, signing: EntrySigning): Promise<LogEntry> {
  return seal({ ...body(input, signing), number: 1, nonce, storeKey: signing.signer.publicKey.text }, signing);
}

/** The entry after `head`. @throws CofferError as `parseEntry` */
export async function makeNextEntry(input: EntryInput, head: LogLine, signing: EntrySigning): Promise<LogEntry> {
  const number = head.facts.number + 1;
  return seal({ ...body(input, signing), number, previous: head.id, store: storeIdOf(head) }, signing);
}

function body({ refs, moves, note }: EntryInput, { now }: EntrySigning): CanonicalObject {
  if (moves.length > LIMITS.movesPerEntry) {
    const problem = `expected at most ${LIMITS.movesPerEntry} moves, found ${moves.length}`;
    throw new CofferError("LIMIT_EXCEEDED", `log entry: ${problem}`);
  }
  const listed = [...moves].sort(byRef).map(({ ref, from, to }) => ({ ref, from, to }));
  return { type: "coffer/log", version: 1, time: formatTime(now), refs, moves: listed, note };
}

/** Signs, which checks the signature, and reads the result back, so that nothing is written that would not be read. */
async function seal(value: CanonicalObject, { signer }: EntrySigning): Promise<LogEntry> {
  const line = encodeCanonical(value);
  const armored = await signSshsig(signer, NAMESPACE, line);
  const bytes = Buffer.concat([line, Buffer.from(armored, "latin1")]);
  return { ...parseEntryLine(bytes), bytes };
}
