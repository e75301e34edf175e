// SPDX-License-Identifier: Apache-2.0
/**
 * The one form of tar that bundles have: ustar headers of plain files, each field with the one value that it may have.
 * Layer: sync. Format: docs/format.md, "Bundles". Pure: bytes come in and go out. Not here: what a volume holds (volume.ts).
 */
import { CofferError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";
import { enforce, type Rule } from "./rule.ts";

export const BLOCK_BYTES = 512;
/** Two blocks of zeros end an archive. */
export const END_BYTES = 2 * BLOCK_BYTES;
/** Eleven octal digits. */
const MOST_BYTES = 8 ** 11 - 1;
const NAME_BYTES = 100;

/** Fields of a header: where each begins, and its length. */
const FIELDS = {
  name: [0, NAME_BYTES],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  link: [157, 100],
  magic: [257, 8],
  user: [265, 32],
  group: [297, 32],
  major: [329, 8],
  minor: [337, 8],
  prefix: [345, 155],
  rest: [500, 12],
} as const;
type Field = keyof typeof FIELDS;

export interface TarMember {
  readonly path: string;
  readonly sizeBytes: number;
}

const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, "0")}\0`;

/** How a path is spelled in the two fields: whole in `name` where it fits, else cut at its last slash. */
function splitPath(path: string): { readonly prefix: string; readonly name: string } {
  if (path.length <= NAME_BYTES) return { prefix: "", name: path };
  const slash = path.lastIndexOf("/");
  return { prefix: path.slice(0, slash), name: path.slice(slash + 1) };
}

/** Bytes from the header of a member to the next one's. */
export function memberBytes(sizeBytes: number): number {
  return BLOCK_BYTES + sizeBytes + paddingBytes(sizeBytes);
}

/** Zeros after the content, up to a whole block. */
export function paddingBytes(sizeBytes: number): number {
  return (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
}

/** @param member - an ASCII path whose last part has at most 100 characters, and the rest 155 */
export function encodeTarHeader({ path, sizeBytes }: TarMember): Uint8Array {
  const { prefix, name } = splitPath(path);
  if (name.length > NAME_BYTES || prefix.length > FIELDS.prefix[1] || sizeBytes > MOST_BYTES) {
    throw new CofferError("INTERNAL", `tar: expected a path and a size that fit a header, found ${quote(path)}`);
  }
  const header = Buffer.alloc(BLOCK_BYTES);
  const put = (field: Field, text: string): void => void header.write(text, FIELDS[field][0], "latin1");
  put("name", name);
  put("mode", MODE);
  put("uid", NUMBER_ZERO);
  put("gid", NUMBER_ZERO);
  put("size", octal(sizeBytes, 11));
  put("mtime", TIME_ZERO);
  put("type", FILE);
  put("magic", MAGIC);
  put("major", NUMBER_ZERO);
  put("minor", NUMBER_ZERO);
  put("prefix", prefix);
  put("checksum", `${octal(checksum(header), 6)} `);
  return new Uint8Array(header);
}

const MODE = octal(0o444, 7);
const NUMBER_ZERO = octal(0, 7);
const TIME_ZERO = octal(0, 11);
const FILE = "0";
const MAGIC = "ustar\x0000";

/** The sum of all bytes, with the checksum's own field as blanks. */
function checksum(header: Uint8Array): number {
  const [at, length] = FIELDS.checksum;
  let sum = 0x20 * length;
  header.forEach((byte, index) => {
    if (index < at || index >= at + length) sum += byte;
  });
  return sum;
}

/** A header's fields as text, one character for each byte. */
type Fields = Readonly<Record<Field, string>> & { readonly sum: number };

function readFields(header: Uint8Array): Fields {
  const text = Buffer.from(header).toString("latin1");
  const field = (name: Field): string => text.slice(FIELDS[name][0], FIELDS[name][0] + FIELDS[name][1]);
  const names = Object.keys(FIELDS) as Field[];
  return {
    ...(Object.fromEntries(names.map((name) => [name, field(name)])) as Record<Field, string>),
    sum: checksum(header),
  };
}

type HeaderRule = Rule<Fields>;

const is =
  (field: Field, expected: string): HeaderRule =>
  (fields) =>
    fields[field] === expected ? undefined : `expected ${field} ${quote(expected)}, found ${quote(fields[field])}`;

const empty = (...names: readonly Field[]): HeaderRule => {
  return (fields) => {
    const found = names.find((name) => /[^\0]/.test(fields[name]));
    return found && `expected nothing in ${found}, found ${quote(fields[found])}`;
  };
};

const isChecksum: HeaderRule = ({ checksum: found, sum }) =>
  found === `${octal(sum, 6)} ` ? undefined : `expected checksum ${sum}, found ${quote(found)}`;

const KINDS: Readonly<Record<string, string>> = {
  "1": "a hard link",
  "2": "a symbolic link",
  "3": "a device",
  "4": "a device",
  "5": "a folder",
  "6": "a pipe",
  x: "a pax header",
  g: "a pax header",
  L: "a gnu header",
  K: "a gnu header",
  S: "a sparse file",
};
const isFile: HeaderRule = ({ type }) =>
  type === FILE ? undefined : `expected a plain file, found ${KINDS[type] ?? `type ${quote(type)}`}`;

/** Eleven octal digits: no blanks, and not the binary form for sizes of 8 GiB and more. */
const isSize: HeaderRule = ({ size }) =>
  /^[0-7]{11}\0$/.test(size) ? undefined : `expected a size of eleven octal digits, found ${quote(size)}`;

/** A text up to the first zero byte, and only zeros from there on. */
const PADDED = /^([\x20-\x7e]*)\0*$/;
const isPath: HeaderRule = ({ name, prefix }) =>
  PADDED.test(name) && PADDED.test(prefix) ? undefined : "expected a path of printable ascii, padded with zeros";

const isSplitOnce: HeaderRule = (fields) => {
  const { prefix, name } = splitPath(pathOf(fields));
  return prefix === unpadded(fields.prefix) && name === unpadded(fields.name)
    ? undefined
    : `expected a path that is cut only where it has to be, found ${quote(pathOf(fields), 200)}`;
};

const unpadded = (text: string): string => text.split("\0", 1)[0] ?? "";

function pathOf({ prefix, name }: Fields): string {
  const before = unpadded(prefix);
  return before === "" ? unpadded(name) : `${before}/${unpadded(name)}`;
}

/** Together they leave no byte of a header free. */
export const TAR_RULES: Record<string, HeaderRule> = {
  "tar-checksum": isChecksum,
  "tar-magic": is("magic", MAGIC),
  "tar-type": isFile,
  "tar-link": empty("link"),
  "tar-size": isSize,
  "tar-mode": is("mode", MODE),
  "tar-owner": (fields) =>
    is("uid", NUMBER_ZERO)(fields) ?? is("gid", NUMBER_ZERO)(fields) ?? empty("user", "group")(fields),
  "tar-time": is("mtime", TIME_ZERO),
  "tar-device": (fields) => is("major", NUMBER_ZERO)(fields) ?? is("minor", NUMBER_ZERO)(fields),
  "tar-path": isPath,
  "tar-prefix": isSplitOnce,
  "tar-rest": empty("rest"),
};

/**
 * @param header - 512 bytes
 * @param what - how error texts call the volume
 * @throws CofferError BUNDLE_INVALID - naming the rule
 */
export function readTarHeader(header: Uint8Array, what: string): TarMember {
  const fields = readFields(header);
  enforce(TAR_RULES, fields, what);
  return { path: pathOf(fields), sizeBytes: Number.parseInt(fields.size, 8) };
}
