// SPDX-License-Identifier: Apache-2.0
/**
 * More hostile volumes beside those of hostile-bundles.ts, which has one for each rule: the many ways to break one. Layer: test
 * support.
 */
import { digestFromBytes, sha256 } from "../../src/base/digest.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { itemPath } from "../../src/sync/source.ts";
import { INDEX_PATH, indexSignaturePath, NOTE_PATH } from "../../src/sync/volume-note.ts";
import {
  at,
  BLOB,
  blob,
  built,
  type Case,
  cut,
  GOOD,
  type Hostile,
  ITEM,
  LARGE,
  MANIFEST,
  MEMBERS,
  type Member,
  MIB,
  NAME,
  named,
  object,
  other,
  POLICY,
  part,
  REVOCATION,
  STATEMENT,
  signature,
  signer,
  stray,
  swapped,
} from "./hostile-bundles.ts";
import { digestFor } from "./trust-fixtures.ts";

const END = ITEM + MEMBERS.length;
const first = itemPath((MEMBERS[0] as Member).item);
const second = itemPath((MEMBERS[1] as Member).item);

const TYPES: readonly (readonly [string, string])[] = [
  ["a block device", "4"],
  ["a folder", "5"],
  ["a pipe", "6"],
  ["a contiguous file", "7"],
  ["a pax header", "x"],
  ["a pax header for all that follows", "g"],
  ["a long name of gnu tar", "L"],
  ["a long target of gnu tar", "K"],
  ["a sparse file", "S"],
  ["a part of a file that goes on in the next volume", "M"],
  ["a name for the volume", "V"],
  ["an access list", "A"],
  ["a plain file of old tar", "\0"],
];

/** Each in the place of the second item. */
const PATHS: readonly (readonly [string, string])[] = [
  ["from the folder itself", `./${second}`],
  ["from the root", `/${second}`],
  ["through a folder and back", `objects/../${second}`],
  ["with two slashes", second.replace("/", "//")],
  ["with a slash at its end", `${second.slice(0, 60)}/`],
  ["with backslashes", second.replaceAll("/", "\\")],
  ["of a drive", `C:\\${second.slice(0, 50)}`],
  ["of a device of windows", "CON"],
  ["of a stream of ntfs", `${second}::$DATA`],
  ["in capitals behind its first letter", second.toUpperCase().replace("OBJECTS", "objects")],
  ["in a twin that differs by case alone", second.replace("objects", "Objects")],
  ["that is empty", ""],
  ["that is a dot", "."],
  ["that is two dots", ".."],
  ["at home", "~/.ssh/authorized_keys"],
  ["of a hook", ".git/hooks/post-checkout"],
  ["of the store's own file", "coffer.json"],
  ["of a log entry", "log/000000/000000000001.json"],
  ["of a ref", "refs/trusted/acme/tiny@main"],
  ["of its staging", "local/tmp/import-x"],
  ["of a signature", second.replace("objects", "signatures")],
  ["of a blob", second.replace("objects", "blobs")],
  ["of the item before", first],
  ["of the index", INDEX_PATH],
  ["of the note", NOTE_PATH],
  ["with a blank behind it", `${second} `],
  ["with a dot behind it", `${second}.`],
  ["percent-encoded", second.replace("/", "%2f")],
  ["that is a shell's", `${second};id`],
];

const withPart = (...parts: readonly Member[]): Member[] => [...MEMBERS.slice(0, 6), ...parts];
const policySizes = (sizeBytes: number): unknown[] =>
  (GOOD["items"] as unknown[]).map((item, index) => (index === 0 ? [first, sizeBytes] : item));
const long = (from: number, length: number) => part(LARGE, 0, from, from + length);
const state = (more: object) => ({ index: { names: [{ ...NAME, ...more }] as never } });
const withoutManifest = (more: object) => ({
  index: { names: [{ name: NAME.name, heads: NAME.heads, ...more }] as never },
});
const earlier = (...numbers: number[]) => ({
  index: {
    log: {
      number: 3,
      head: digestFor("3"),
      earlier: numbers.map((number) => ({ number, head: digestFor(`${number}`) })),
    },
  },
});

const CASES: readonly Case[] = [
  ...TYPES.map(
    ([name, type]): Case => [`${name} in the place of an item`, ["tar-type"], { header: [ITEM, at(156, type)] }],
  ),
  ...PATHS.map(([name, path]): Case => [`a path ${name}`, ["member-as-listed"], { header: [ITEM + 1, named(path)] }]),
  ["a checksum in another form", ["tar-checksum"], { rawHeader: [ITEM, at(154, " \0")] }],
  ["a checksum of zeros", ["tar-checksum"], { rawHeader: [ITEM, at(148, "000000\0 ")] }],
  ["no magic", ["tar-magic"], { header: [ITEM, at(257, "\0\0\0\0\0\0\0\0")] }],
  ["another version of ustar", ["tar-magic"], { header: [ITEM, at(263, "01")] }],
  ["a target of the index", ["tar-link"], { header: [0, at(157, "x")] }],
  ["a size of twelve digits", ["tar-size"], { header: [ITEM, at(124, POLICY.length.toString(8).padStart(12, "0"))] }],
  ["a size that a blank ends", ["tar-size"], { header: [ITEM, at(135, " ")] }],
  ["a size below nothing", ["tar-size"], { header: [ITEM, at(124, "-0000000013\0")] }, true],
  ["a program that runs as its owner", ["tar-mode"], { header: [ITEM, at(100, "0004755\0")] }],
  ["a group", ["tar-owner"], { header: [ITEM, at(116, "0001750\0")] }],
  ["a group's name", ["tar-owner"], { header: [ITEM, at(297, "wheel")] }],
  ["a time of the index", ["tar-time"], { header: [0, at(136, "00000000001\0")] }],
  ["a second device number", ["tar-device"], { header: [ITEM, at(337, "0000001\0")] }],
  ["bytes after the prefix's end", ["tar-path"], { header: [ITEM, at(400, "hidden")] }],
  [
    "an item's path cut without need",
    ["tar-prefix"],
    { header: [ITEM, cut("objects", first.slice("objects/".length))] },
  ],
  ["the last byte of a header", ["tar-rest"], { header: [ITEM + 2, at(511, "x")] }],
  ["an index from the folder itself", ["index-first"], { header: [0, named(`./${INDEX_PATH}`)] }],
  ["an index from the root", ["index-first"], { header: [0, named(`/${INDEX_PATH}`)] }],
  ["an index in capitals", ["index-first"], { header: [0, named("bundle/INDEX.JSON")] }],
  ["the note in the index's place", ["index-first"], { header: [0, named(NOTE_PATH)] }],
  [
    "an index of 256 MiB and a byte",
    ["index-size"],
    { header: [0, at(124, `${(256 * MIB + 1).toString(8).padStart(11, "0")}\0`)] },
    true,
  ],
  ["a signature of 4,097 bytes", ["signature-size", "signature-verifies"], { armored: "x".repeat(4097) }],
  ["a signature in another folder", ["signed-by-its-store"], { header: [1, named("../index.json.sig")] }],
  [
    "a signature by a stranger in the stranger's name",
    ["signed-by-its-store", "signature-verifies"],
    {
      signaturePath: indexSignaturePath(other.publicKey.keyId),
      armored: await signSshsig(other, "coffer-bundle", POLICY),
    },
  ],
  ["no signature", ["signature-verifies"], { armored: "" }],
  ["a signature that is none", ["signature-verifies"], { armored: "-----BEGIN SSH SIGNATURE-----\n" }],
  [
    "a signature over an index of before",
    ["signature-verifies"],
    { armored: await signSshsig(signer, "coffer-bundle", STATEMENT) },
  ],
  [
    "a signature for a statement",
    ["signature-verifies"],
    { armored: await signSshsig(signer, "coffer-statement", POLICY) },
  ],
  [
    "a volume that begins with its second item",
    ["begins-a-volume"],
    { before: [ITEM, stray(second, REVOCATION)] },
    true,
  ],
  ["a volume that begins with its note", ["begins-a-volume"], { before: [ITEM, stray(NOTE_PATH, POLICY)] }, true],
  [
    "an item that is missing",
    ["member-as-listed"],
    { members: MEMBERS.filter((_, index) => index !== 3), index: { items: GOOD["items"] as never, volumes: [8] } },
    true,
  ],
  [
    "the last item missing",
    ["member-as-listed"],
    { members: MEMBERS.slice(0, -1), index: { items: GOOD["items"] as never, volumes: [8] } },
    true,
  ],
  [
    "an item cut at a slash that leads out",
    ["member-as-listed"],
    { before: [ITEM + 1, stray("x", POLICY, cut("..", "x".repeat(100)))] },
    true,
  ],
  ["an item of no bytes", ["size-as-listed"], { header: [ITEM + 1, at(124, "00000000000\0")] }, true],
  ["an item of 8 GiB", ["size-as-listed"], { header: [ITEM + 1, at(124, "77777777777\0")] }, true],
  [
    "an item that is listed with 64 MiB",
    ["size-as-listed"],
    { index: { items: policySizes(64 * MIB) as never } },
    true,
  ],
  [
    "a blob that is shorter",
    ["size-as-listed"],
    { header: [ITEM + 5, at(124, `${(BLOB.length - 1).toString(8).padStart(11, "0")}\0`)] },
  ],
  [
    "bytes after the index",
    ["padding-zero"],
    { padding: [0, (padding) => void padding.write("x", padding.length - 1)] },
  ],
  ["bytes after its signature", ["padding-zero"], { padding: [1, (padding) => void padding.write("x", 0)] }],
  ["bytes after a blob", ["padding-zero"], { padding: [ITEM + 5, (padding) => void padding.write("x", 0)] }],
  ["bytes after the last part", ["padding-zero"], { padding: [ITEM + 7, (padding) => void padding.write("x", 0)] }],
  ["bytes after the note", ["padding-zero"], { padding: [END, (padding) => void padding.write("x", 0)] }],
  ["a second index after the last item", ["note-last"], { before: [END, stray(INDEX_PATH, POLICY)] }, true],
  ["a note in capitals", ["note-last"], { notePath: "bundle/VOLUME.json" }],
  ["a note from the root", ["note-last"], { notePath: `/${NOTE_PATH}` }],
  ["a note of 8 GiB", ["note-size"], { header: [END, at(124, "77777777777\0")] }, true],
  ["a note about one volume of two", ["note-number"], { note: { of: 2 } }],
  ["a note about volume two of one", ["note-number"], { note: { number: 2 } }],
  ["one block of zeros at the end", ["end-zero"], { end: Buffer.concat([Buffer.alloc(512), Buffer.alloc(512, "x")]) }],
  ["an item in the place of the end", ["end-zero"], { end: stray("objects/aa/extra", POLICY).subarray(0, 1024) }],
  ["an end that is cut", ["nothing-after"], { after: Buffer.alloc(1) }],
  ["an archive after the end", ["nothing-after"], { after: stray("../../etc/passwd", POLICY) }],
  ["a policy twice in its chain", ["has-policy"], { index: { policies: [sha256(POLICY), sha256(POLICY)] } }],
  ["earlier entries in another order", ["earlier-is-whole"], earlier(1, 2)],
  ["an earlier entry twice", ["earlier-is-whole"], earlier(2, 2)],
  ["an earlier entry that is none", ["earlier-is-whole"], earlier(3, 2)],
  ["a quarantined name with heads", ["state-fits-heads"], state({ state: "quarantined" })],
  ["a quarantined name without a manifest", ["state-fits-heads"], withoutManifest({ heads: [], state: "quarantined" })],
  ["a trusted name without a manifest", ["state-fits-heads"], withoutManifest({ state: "trusted" })],
  ["a revoked name without heads", ["state-fits-heads"], state({ heads: [], state: "revoked" })],
  ["several heads that are none", ["state-fits-heads"], state({ heads: [], state: "several" })],
  [
    "a policy that does not come",
    ["listed-is-carried"],
    { index: { policies: [sha256(POLICY), digestFor("elsewhere")] } },
  ],
  ["a refusal that does not come", ["listed-is-carried"], { index: { refusals: [digestFor("elsewhere")] } }],
  ["evidence that does not come", ["listed-is-carried"], { index: { evidence: [digestFor("elsewhere")] } }],
  [
    "a manifest that does not come",
    ["listed-is-carried"],
    state({ manifest: digestFor("elsewhere"), state: "trusted" }),
  ],
  [
    "a candidate that does not come",
    ["listed-is-carried"],
    { index: { candidates: [{ name: NAME.name, statement: digestFor("elsewhere") }] } },
  ],
  ["a blob as the object that is listed", ["listed-is-carried"], { index: { evidence: [sha256(BLOB)] } }],
  [
    "a blob that is listed twice",
    ["items-once"],
    { members: [...MEMBERS.slice(0, 6), blob(BLOB), ...MEMBERS.slice(6)] },
  ],
  [
    "an object that is listed twice at once",
    ["items-once"],
    { members: [...MEMBERS.slice(0, 4), object(STATEMENT), ...MEMBERS.slice(4)] },
  ],
  [
    "an object after all blobs",
    ["small-before-large"],
    { members: [...MEMBERS.filter((_, index) => index !== 4), object(MANIFEST)] },
  ],
  [
    "a signature over an object that does not come",
    ["signature-follows"],
    { members: [...MEMBERS.slice(0, 3), signature(BLOB), ...MEMBERS.slice(3)] },
  ],
  [
    "a signature twice",
    ["signature-follows"],
    { members: [...MEMBERS.slice(0, 3), signature(REVOCATION), ...MEMBERS.slice(3)] },
  ],
  [
    "signatures that are not sorted",
    ["signature-follows"],
    {
      members: [
        ...MEMBERS.slice(0, 2),
        signature(REVOCATION, digestFromBytes(new Uint8Array(32).fill(255)) as never),
        ...MEMBERS.slice(2),
      ],
    },
  ],
  [
    "a signature before all objects",
    ["signature-follows"],
    { members: [signature(REVOCATION), ...MEMBERS.filter((_, index) => index !== 2)] },
    true,
  ],
  [
    "an object of 64 MiB and a byte",
    ["sizes-in-bounds"],
    { index: { items: policySizes(64 * MIB + 1) as never } },
    true,
  ],
  [
    "a signature of 4,097 bytes over an object",
    ["sizes-in-bounds"],
    {
      members: [...MEMBERS.slice(0, 2), signature(REVOCATION, undefined, new Uint8Array(4097)), ...MEMBERS.slice(3)],
    },
  ],
  ["segments of one byte", ["segment-of-chunks", "parts-in-order"], { index: { segmentBytes: 1 } }],
  [
    "a part twice",
    ["parts-in-order"],
    {
      members: withPart(long(0, 8 * MIB), part(LARGE, 1, 8 * MIB, 8 * MIB + 10), part(LARGE, 1, 8 * MIB, 8 * MIB + 10)),
    },
  ],
  [
    "a part left out",
    ["parts-in-order"],
    { members: withPart(long(0, 8 * MIB), part(LARGE, 2, 8 * MIB, 8 * MIB + 10)) },
  ],
  [
    "a first part that is short",
    ["parts-in-order"],
    { members: withPart(long(0, 100), part(LARGE, 1, 8 * MIB, 8 * MIB + 10)) },
  ],
  ["a last part of no bytes", ["parts-in-order"], { members: withPart(long(0, 8 * MIB), part(LARGE, 1, 0, 0)) }],
  ["a first part alone", ["parts-in-order"], { members: withPart(long(0, 8 * MIB)) }],
  ["a blob over the size of a segment in one piece", ["parts-in-order"], { members: withPart(blob(LARGE)) }],
  [
    "a blob whole and in parts",
    ["items-once", "parts-in-order"],
    { members: withPart(long(0, 8 * MIB), part(LARGE, 1, 8 * MIB, 8 * MIB + 10), blob(LARGE)) },
  ],
  ["another blob between two parts", ["parts-in-order"], { members: swapped(5, 6) }],
  ["volumes that hold less than there is", ["volumes-hold-all"], { index: { volumes: [MEMBERS.length - 1] } }, true],
  ["no volumes", ["volumes-hold-all"], { index: { volumes: [] } }, true],
  ["blobs left out by no receipt", ["blobs-as-said"], { index: { blobs: "missing" } }],
];

/** Broken before any rule is asked, by the form of the index. */
const item = `objects/ab/${"c".repeat(62)}`;
const FORMS: readonly Case[] = [
  ...[
    "objects/../../etc/passwd",
    `/${item}`,
    `./${item}`,
    item.replace("/", "//"),
    `${item}/`,
    item.slice(0, -1),
    `${item}0`,
    item.replace("c", "C"),
    item.replaceAll("/", "\\"),
    item.replace("objects", "refs"),
    item.replace("objects", "local/tmp"),
    `signatures/ab/${"c".repeat(62)}.sig`,
    `signatures/ab/${"c".repeat(62)}/../${"d".repeat(64)}.sig`,
    `blobs/ab/${"c".repeat(62)}.part-1`,
    `blobs/ab/${"c".repeat(62)}.part-000001`,
    `blobs/ab/${"c".repeat(62)}.part--0001`,
  ].map(
    (path): Case => [
      `an item ${JSON.stringify(path).slice(0, 60)}`,
      [],
      { index: { items: [[path, 5]], volumes: [1] } },
    ],
  ),
  ["an item of a size that is no number", [], { index: { items: [[item, true]], volumes: [1] } }],
  ["an item of three members", [], { index: { items: [[item, 5, 5]] as never, volumes: [1] } }],
  ["a name in capitals", [], state({ name: "Acme/Tiny@Main", state: "trusted" })],
  ["a name that leads out", [], state({ name: "../tiny@main", state: "trusted" })],
  [
    "a name twice",
    [],
    {
      index: {
        names: [
          { ...NAME, state: "trusted" },
          { ...NAME, state: "trusted" },
        ],
      },
    },
  ],
  ["a state that nobody knows", [], state({ state: "blessed" })],
  ["no store key", [], { index: { storeKey: "ssh-ed25519 AAAA" } }],
  ["a store key with a comment", [], { index: { storeKey: `${GOOD["storeKey"]} mallory` } }],
  ["a log without an entry", [], { index: { log: { number: 0, head: digestFor("0"), earlier: [] } } }],
  ["a segment beyond its limit", [], { index: { segmentBytes: 2 ** 40 } }],
  ["a volume of no items", [], { index: { volumes: [0, MEMBERS.length] } }],
];

export const trickyBundles: readonly Hostile[] = CASES.map(built);
export const trickyForms: readonly Hostile[] = FORMS.map(built);
