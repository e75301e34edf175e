// SPDX-License-Identifier: Apache-2.0
/**
 * One bundle for each rule, which breaks that rule and no other; and some that break the form before any rule is asked.
 * Made in memory, with a store key of its own: whoever writes a stick can sign its index with some key. Layer: test support.
 */
import { createHash } from "node:crypto";
import { type CanonicalObject, encodeCanonical, parseCanonical } from "../../src/base/canonical-json.ts";
import { digestFromBytes, sha256 } from "../../src/base/digest.ts";
import { parseLabel, parseName } from "../../src/base/names.ts";
import { publicFromSeed } from "../../src/keys/ed25519.ts";
import { publicKeyFromRaw } from "../../src/keys/public-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { teamPolicy } from "../../src/repo/policy-draft.ts";
import { type BundleIndex, makeBundleIndex } from "../../src/sync/bundle-index.ts";
import { type Item, itemPath } from "../../src/sync/source.ts";
import { encodeTarHeader, paddingBytes } from "../../src/sync/tar.ts";
import { INDEX_PATH, indexSignaturePath, makeVolumeNote, NOTE_PATH } from "../../src/sync/volume-note.ts";
import { digestFor } from "./trust-fixtures.ts";

export interface Hostile {
  readonly name: string;
  /** The rule that refuses it; the others would, if that one were off. */
  readonly rules: readonly string[];
  /** What it breaks cannot be read whatever is switched off. */
  readonly beyond?: true;
  /** Made when it is asked for: all of them together are a gigabyte. */
  readonly volume: () => Promise<Buffer>;
}

export const MIB = 1024 * 1024;
const seed = new Uint8Array(32).fill(7);
export const publicKey = publicKeyFromRaw(publicFromSeed(seed));
export const signer = nodeSigner({ publicKey, seed, comment: "" });
export const other = (() => {
  const raw = new Uint8Array(32).fill(9);
  return nodeSigner({ publicKey: publicKeyFromRaw(publicFromSeed(raw)), seed: raw, comment: "" });
})();

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
/** Of the store that the bundles are given to; what else comes is of no kind that it knows. */
export const HOSTILE_POLICY = teamPolicy(
  [{ name: parseLabel("mallory"), keys: [other.publicKey] }],
  1,
  false,
  (length) => new Uint8Array(length).fill(5),
  Date.parse("2026-11-22T12:00:00Z") / 1000,
);
export const POLICY = HOSTILE_POLICY.bytes;
export const REVOCATION = bytesOf("revocation\n");
export const STATEMENT = bytesOf("the statement, a little longer\n");
export const MANIFEST = bytesOf("manifest\n");
export const BLOB = bytesOf("weights of a model\n");
export const LARGE = Buffer.alloc(8 * MIB + 10, "x");

/** An item and what stands in the volume for it. */
export interface Member {
  readonly item: Item;
  readonly bytes: Uint8Array;
}

export const object = (bytes: Uint8Array): Member => ({
  item: { kind: "object", id: sha256(bytes), sizeBytes: bytes.length },
  bytes,
});
export const signature = (over: Uint8Array, keySymbol = publicKey.keyId, bytes = bytesOf("a signature\n")): Member => ({
  item: { kind: "signature", object: sha256(over), keyId: keySymbol, sizeBytes: bytes.length },
  bytes,
});
export const blob = (bytes: Uint8Array): Member => ({
  item: { kind: "blob", blob: sha256(bytes), sizeBytes: bytes.length },
  bytes,
});
export const part = (bytes: Uint8Array, number: number, from: number, to: number): Member => ({
  item: { kind: "blob", blob: sha256(bytes), part: number, sizeBytes: to - from },
  bytes: bytes.subarray(from, to),
});

export const MEMBERS: readonly Member[] = [
  object(POLICY),
  object(REVOCATION),
  signature(REVOCATION),
  object(STATEMENT),
  object(MANIFEST),
  blob(BLOB),
  part(LARGE, 0, 0, 8 * MIB),
  part(LARGE, 1, 8 * MIB, 8 * MIB + 10),
];

const INDEX: BundleIndex = {
  store: digestFor("hostile store"),
  storeKey: publicKey,
  log: { number: 3, head: digestFor("3"), earlier: [{ number: 2, head: digestFor("2") }] },
  root: HOSTILE_POLICY.value.root,
  policies: [sha256(POLICY)],
  names: [
    { name: parseName("acme/tiny").text, heads: [sha256(STATEMENT)], manifest: sha256(MANIFEST), state: "trusted" },
  ],
  candidates: [],
  revocations: [sha256(REVOCATION)],
  refusals: [],
  evidence: [],
  items: MEMBERS.map(({ item }) => item),
  segmentBytes: 8 * MIB,
  volumes: [MEMBERS.length],
  blobs: "all",
};
export const GOOD = parseCanonical(makeBundleIndex(INDEX).bytes) as CanonicalObject;

/** What is done to a volume while it is put together; whatever is left out is as it must be. */
export interface Plan {
  readonly members?: readonly Member[];
  /** Members of the index to replace; `items` and `volumes` follow `members`. */
  readonly index?: CanonicalObject;
  readonly indexPath?: string;
  readonly signaturePath?: string;
  readonly armored?: string;
  /** Changes the header of the member at that place, counted from the index; its checksum is made right again. */
  readonly header?: readonly [number, (header: Buffer) => void];
  /** The same, and the checksum stays what it was. */
  readonly rawHeader?: readonly [number, (header: Buffer) => void];
  /** Put before the member at that place. */
  readonly before?: readonly [number, Buffer];
  readonly padding?: readonly [number, (padding: Buffer) => void];
  readonly notePath?: string;
  readonly note?: CanonicalObject;
  readonly end?: Buffer;
  readonly after?: Buffer;
}

function sum(header: Buffer): void {
  header.fill(" ", 148, 156);
  const total = header.reduce((all, byte) => all + byte, 0);
  header.write(`${total.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
}

async function volume(plan: Plan): Promise<Buffer> {
  const members = plan.members ?? MEMBERS;
  const items = members.map(({ item }) => [itemPath(item), item.sizeBytes]);
  const index = encodeCanonical({ ...GOOD, items, volumes: [items.length], ...plan.index });
  const armored = plan.armored ?? (await signSshsig(signer, "coffer-bundle", index));
  const signaturePath = plan.signaturePath ?? indexSignaturePath(publicKey.keyId);
  const inside: (readonly [string, Uint8Array, number?])[] = [
    [plan.indexPath ?? INDEX_PATH, index],
    [signaturePath, bytesOf(armored)],
    ...members.map(({ item, bytes }) => [itemPath(item), bytes, item.sizeBytes] as const),
  ];
  const front = Buffer.concat(inside.map(([path, bytes], at) => member(plan, at, path, bytes)));
  const hash = digestFromBytes(createHash("sha256").update(front).digest());
  const facts = { index: sha256(index), number: 1, of: 1, sha256: hash };
  const note =
    plan.note === undefined ? makeVolumeNote(facts).bytes : encodeCanonical({ ...noteOf(facts), ...plan.note });
  return Buffer.concat([
    front,
    member(plan, inside.length, plan.notePath ?? NOTE_PATH, note),
    plan.end ?? Buffer.alloc(1024),
    plan.after ?? Buffer.alloc(0),
  ]);
}

const noteOf = (facts: Parameters<typeof makeVolumeNote>[0]): CanonicalObject =>
  parseCanonical(makeVolumeNote(facts).bytes) as CanonicalObject;

function member(plan: Plan, at: number, path: string, bytes: Uint8Array): Buffer {
  const header = Buffer.from(encodeTarHeader({ path, sizeBytes: bytes.length }));
  if (plan.header?.[0] === at) {
    plan.header[1](header);
    sum(header);
  }
  if (plan.rawHeader?.[0] === at) plan.rawHeader[1](header);
  const padding = Buffer.alloc(paddingBytes(bytes.length));
  if (plan.padding?.[0] === at) plan.padding[1](padding);
  const before = plan.before?.[0] === at ? plan.before[1] : Buffer.alloc(0);
  return Buffer.concat([before, header, bytes, padding]);
}

export const at = (place: number, text: string) => (header: Buffer) => void header.write(text, place, "latin1");
/** Another path in place of the one that is there. */
export const named =
  (path: string) =>
  (header: Buffer): void => {
    header.fill(0, 0, 100);
    header.write(path, 0, "latin1");
  };
export const cut =
  (prefix: string, name: string) =>
  (header: Buffer): void => {
    named(name)(header);
    header.write(prefix, 345, "latin1");
  };
export const swapped = (one: number, two: number): Member[] =>
  MEMBERS.map((entry, index) => MEMBERS[index === one ? two : index === two ? one : index] ?? entry);
/** The bytes of another member in one's place. */
const exchanged = (one: number, two: number): Member[] =>
  MEMBERS.map((entry, index) => ({
    ...entry,
    item: MEMBERS[index === one ? two : index === two ? one : index]?.item ?? entry.item,
  }));

/** A whole archive member, for what stands where nothing should. */
export function stray(path: string, bytes: Uint8Array, change: (header: Buffer) => void = () => undefined): Buffer {
  const header = Buffer.from(encodeTarHeader({ path, sizeBytes: bytes.length }));
  change(header);
  sum(header);
  return Buffer.concat([header, bytes, Buffer.alloc(paddingBytes(bytes.length))]);
}

/** The first item's place among the members. */
export const ITEM = 2;
export const NAME = { name: "acme/tiny@main", heads: [sha256(STATEMENT)], manifest: sha256(MANIFEST) };

export type Case = readonly [name: string, rules: readonly string[], plan: Plan, beyond?: true];

const CASES: readonly Case[] = [
  ["a checksum of another header", ["tar-checksum"], { rawHeader: [ITEM, at(148, "007777")] }],
  ["gnu tar's magic", ["tar-magic"], { header: [ITEM, at(257, "ustar  \0")] }],
  ["a symbolic link", ["tar-type"], { header: [ITEM, at(156, "2")] }],
  ["a hard link", ["tar-type"], { header: [ITEM, at(156, "1")] }],
  ["a device", ["tar-type"], { header: [ITEM, at(156, "3")] }],
  ["a target without a link", ["tar-link"], { header: [ITEM, at(157, "../../etc/passwd")] }],
  ["a size with blanks", ["tar-size"], { header: [ITEM, at(124, `${POLICY.length.toString(8).padStart(11)}\0`)] }],
  ["a size in binary", ["tar-size"], { header: [ITEM, at(124, "\x80\0\0\0\0\0\0\0\0\0\0\x0b")] }, true],
  ["a file that everybody may write", ["tar-mode"], { header: [ITEM, at(100, "0000666\0")] }],
  ["an owner", ["tar-owner"], { header: [ITEM, at(108, "0001750\0")] }],
  ["an owner's name", ["tar-owner"], { header: [ITEM, at(265, "root")] }],
  ["a time", ["tar-time"], { header: [ITEM, at(136, "14000000000\0")] }],
  ["a device number", ["tar-device"], { header: [ITEM, at(329, "0000001\0")] }],
  ["bytes after the path's end", ["tar-path"], { header: [ITEM, at(90, "hidden")] }],
  ["a path cut without need", ["tar-prefix"], { header: [0, cut("bundle", "index.json")] }],
  ["bytes in the rest of a header", ["tar-rest"], { header: [ITEM, at(505, "x")] }],
  ["another first member", ["index-first"], { indexPath: "bundle/other.json" }],
  ["an index of 8 GiB", ["index-size"], { header: [0, at(124, "77777777777\0")] }, true],
  ["a signature of 5,000 bytes", ["signature-size", "signature-verifies"], { armored: "x".repeat(5000) }],
  ["a signature under another name", ["signed-by-its-store"], { signaturePath: "bundle/index.json.sig" }],
  [
    "another bundle's signature",
    ["signature-verifies"],
    { armored: await signSshsig(signer, "coffer-bundle", POLICY) },
  ],
  [
    "a signature by another key under the right name",
    ["signature-verifies"],
    { armored: await signSshsig(other, "coffer-bundle", POLICY) },
  ],
  [
    "a signature for another purpose",
    ["signature-verifies"],
    { armored: await signSshsig(signer, "coffer-log", POLICY) },
  ],
  ["a first item that begins no volume", ["begins-a-volume"], { header: [ITEM, at(8, "ff")] }, true],
  [
    "two items in each other's place",
    ["member-as-listed"],
    { members: exchanged(3, 4), index: { items: GOOD["items"] } },
  ],
  ["an item that is listed under another path", ["member-as-listed"], { header: [ITEM + 1, at(8, "ff")] }],
  ["a path that leads out", ["member-as-listed"], { header: [ITEM + 1, named("../../../etc/passwd")] }],
  ["an absolute path", ["member-as-listed"], { header: [ITEM + 1, named("/etc/passwd")] }],
  ["a path in capitals", ["member-as-listed"], { header: [ITEM + 1, at(0, "OBJECTS")] }],
  ["an item that is not listed", ["member-as-listed"], { before: [ITEM + 1, stray("objects/aa/extra", POLICY)] }, true],
  ["an item twice", ["member-as-listed"], { before: [ITEM + 1, stray(itemPath(object(POLICY).item), POLICY)] }, true],
  [
    "a pax header before an item",
    ["tar-type"],
    { before: [ITEM, stray("pax", bytesOf("20 path=../elsewhere\n"), at(156, "x"))] },
    true,
  ],
  [
    "a gnu long name before an item",
    ["tar-type"],
    { before: [ITEM, stray("././@LongLink", bytesOf("../elsewhere\0"), at(156, "L"))] },
    true,
  ],
  [
    "an item of another size",
    ["size-as-listed"],
    { members: [{ ...object(POLICY), bytes: Buffer.concat([POLICY, Buffer.alloc(1)]) }, ...MEMBERS.slice(1)] },
  ],
  [
    "an item after the last one",
    ["note-last"],
    { before: [ITEM + MEMBERS.length, stray("objects/aa/extra", POLICY)] },
    true,
  ],
  ["bytes between two members", ["padding-zero"], { padding: [ITEM, (padding) => void padding.write("hidden", 20)] }],
  ["a note under another name", ["note-last"], { notePath: "bundle/note.json" }],
  ["a note of 600 bytes", ["note-size"], { header: [ITEM + MEMBERS.length, at(124, "00000001130\0")] }, true],
  ["a note about another index", ["note-of-index"], { note: { index: digestFor("another") } }],
  ["a note about another volume", ["note-number"], { note: { number: 2, of: 2 } }],
  ["no zeros at the end", ["end-zero"], { end: Buffer.alloc(1024, "x") }],
  ["a hash of other bytes", ["volume-hash"], { note: { sha256: digestFor("other bytes") } }],
  ["bytes after the end", ["nothing-after"], { after: Buffer.from("trailing") }],
  ["zeros after the end", ["nothing-after"], { after: Buffer.alloc(9 * 1024) }],
  ["no policy", ["has-policy"], { index: { policies: [] } }],
  ["no earlier entry", ["earlier-is-whole"], { index: { log: { number: 3, head: digestFor("3"), earlier: [] } } }],
  [
    "a trusted name without heads",
    ["state-fits-heads"],
    { index: { names: [{ ...NAME, heads: [], state: "trusted" }] } },
  ],
  [
    "a head that does not come",
    ["listed-is-carried"],
    { index: { names: [{ ...NAME, heads: [digestFor("elsewhere")], state: "trusted" }] } },
  ],
  ["a revocation that does not come", ["listed-is-carried"], { index: { revocations: [digestFor("elsewhere")] } }],
  [
    "an item that is listed twice",
    ["items-once", "signature-follows"],
    { members: [...MEMBERS.slice(0, 4), object(POLICY), ...MEMBERS.slice(4)] },
  ],
  ["an object after a blob", ["small-before-large"], { members: swapped(4, 5) }],
  ["a signature without its object before it", ["signature-follows"], { members: swapped(1, 2) }],
  [
    "a signature of 5,000 bytes over an object",
    ["sizes-in-bounds"],
    { members: [...MEMBERS.slice(0, 2), signature(REVOCATION, undefined, new Uint8Array(5000)), ...MEMBERS.slice(3)] },
  ],
  ["segments that cut chunks", ["segment-of-chunks", "parts-in-order"], { index: { segmentBytes: 8 * MIB + 1 } }],
  ["parts in another order", ["parts-in-order"], { members: swapped(6, 7) }],
  ["a first part that is missing", ["parts-in-order"], { members: MEMBERS.filter((_, index) => index !== 6) }],
  ["volumes that hold more than there is", ["volumes-hold-all"], { index: { volumes: [MEMBERS.length + 1] } }],
  ["blobs where it says none", ["blobs-as-said"], { index: { blobs: "none" } }],
];

/** Broken before any rule is asked: by the closed schema of the index or the note. */
const FORMS: readonly Case[] = [
  ["an item whose path leads out", [], { index: { items: [["../../etc/passwd", 5]], volumes: [1] } }],
  ["an item in capitals", [], { index: { items: [[`objects/${"AB"}/${"c".repeat(62)}`, 5]], volumes: [1] } }],
  ["a size beyond what is counted", [], { index: { items: [[`objects/ab/${"c".repeat(62)}`, "5"]], volumes: [1] } }],
  ["an index of a later version", [], { index: { version: 2 } }],
  ["an index of another type", [], { index: { type: "coffer/statement" } }],
  ["a member that nobody knows", [], { index: { also: true } }],
  ["a note with a member more", [], { note: { also: true } }],
  ["volumes without end", [], { index: { volumes: Array.from({ length: 10_000 }, () => 1) } }],
];

export const built = ([name, rules, plan, beyond]: Case): Hostile => ({
  ...{ name, rules, volume: () => volume(plan) },
  ...(beyond === undefined ? {} : { beyond }),
});

export const goodVolume = (): Promise<Buffer> => volume({});
export const hostileBundles: readonly Hostile[] = CASES.map(built);
export const malformedBundles: readonly Hostile[] = FORMS.map(built);
