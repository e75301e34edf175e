// SPDX-License-Identifier: Apache-2.0
/**
 * Recognises formats by their first bytes, and ZIP archives that hide at the end of other files.
 * Layer: formats. Names only: the rules of each format are elsewhere, and extensions play no part here.
 */
import type { ByteReader } from "./reader.ts";

/** Bytes from the start of a file that `recognise` wants (fewer if the file is shorter). */
export const HEAD_BYTES = 512;

/** Formats that have a walker of their own. */
export type KnownFormat = "gguf" | "safetensors" | "sentencepiece";

/** What the first bytes tell. `refused`: recognised, named, and not admitted, with the reason for people. */
export type Recognised =
  | { readonly kind: "known"; readonly format: KnownFormat }
  | { readonly kind: "refused"; readonly format: string; readonly reason: string };

interface Magic {
  readonly format: string;
  readonly at: number;
  readonly bytes: readonly number[];
}

const ascii = (text: string): number[] => [...text].map((char) => char.charCodeAt(0));
const magic = (format: string, bytes: readonly number[] | string, at = 0): Magic => ({
  format,
  at,
  bytes: typeof bytes === "string" ? ascii(bytes) : bytes,
});

const MAGICS: readonly Magic[] = [
  magic("zip", "PK\x03\x04"),
  magic("zip", "PK\x05\x06"),
  magic("zip", "PK\x07\x08"),
  magic("7z", [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c]),
  magic("gzip", [0x1f, 0x8b]),
  magic("bzip2", [...ascii("1AY&SY")], 4),
  magic("xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]),
  magic("zstd", [0x28, 0xb5, 0x2f, 0xfd]),
  magic("lz4", [0x04, 0x22, 0x4d, 0x18]),
  magic("rar", "Rar!\x1a\x07"),
  magic("tar", "ustar", 257),
  magic("elf", "\x7fELF"),
  magic("macho", [0xfe, 0xed, 0xfa, 0xce]),
  magic("macho", [0xfe, 0xed, 0xfa, 0xcf]),
  magic("macho", [0xce, 0xfa, 0xed, 0xfe]),
  magic("macho", [0xcf, 0xfa, 0xed, 0xfe]),
  magic("macho", [0xca, 0xfe, 0xba, 0xbe]),
  magic("numpy", [0x93, ...ascii("NUMPY")]),
  magic("hdf5", [0x89, ...ascii("HDF\r\n"), 0x1a, 0x0a]),
];

const REASONS: ReadonlyMap<string, string> = new Map([
  ["pickle", "python pickle: loading it runs code of its choice"],
  ["zip", "zip archive (pytorch .pt, .npz ...): archives hide what they hold, often pickle"],
  ["elf", "executable (elf)"],
  ["pe", "executable (windows)"],
  ["macho", "executable (mach-o or java class)"],
  ["numpy", "numpy array: may hold pickled objects"],
  ["hdf5", "hdf5 file (keras .h5): may hold code"],
]);

const PICKLE_GLOBAL =
  /^[(\]}]*[ci][A-Za-z_][\w.]*\r?\n[A-Za-z_][\w.]*\r?\n(?:[)q]|p\d+\n|\([SVIXUcCKJMLFNTdltiopq(\]}\x80-\xff])/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the memo index of protocol 1 is a raw byte
const PICKLE_CONTAINER = /^[(\]}]{1,3}[dlt]?(?:p\d+\n|[qr]\x00)/;

/** @param head - the first HEAD_BYTES of the file, or all of it. @returns undefined when no magic fits */
export function recognise(head: Uint8Array): Recognised | undefined {
  const text = Buffer.from(head.buffer, head.byteOffset, head.length).toString("latin1");
  if (text.startsWith("GGUF")) return { kind: "known", format: "gguf" };
  if (looksSafetensors(head)) return { kind: "known", format: "safetensors" };
  const found = MAGICS.find((entry) => entry.bytes.every((byte, index) => head[entry.at + index] === byte));
  if (found !== undefined && confirms(found.format, text)) return refused(found.format);
  if (head[0] === 0x80 && (head[1] ?? 0xff) <= 0x0f) return refused("pickle");
  if (PICKLE_GLOBAL.test(text) || PICKLE_CONTAINER.test(text)) return refused("pickle");
  if (text.startsWith("MZ") && text.slice(0, 128).includes("\x00")) return refused("pe");
  if (looksSentencePiece(head)) return { kind: "known", format: "sentencepiece" };
  return undefined;
}

/** Magics that stand inside the file, or are letters alone, want more than themselves: prose may hold them too. */
function confirms(format: string, text: string): boolean {
  if (format === "bzip2") return text.startsWith("BZh");
  return format !== "tar" || text.includes("\x00");
}

function refused(format: string): Recognised {
  return { kind: "refused", format, reason: REASONS.get(format) ?? `${format} archive: archives hide what they hold` };
}

/** `{` after eight bytes that cannot be text: a length, however absurd, so that its walker can say what is wrong. */
function looksSafetensors(head: Uint8Array): boolean {
  if (head.length < 9 || head[8] !== 0x7b) return false;
  return head.subarray(0, 8).some((byte) => byte < 0x09 || (byte > 0x0d && byte < 0x20) || byte >= 0xf8);
}

/** A first piece: message 1, holding a short string 1 and then a score (2) or a type (3). */
function looksSentencePiece(head: Uint8Array): boolean {
  const length = head[1] ?? 0;
  const textLength = head[3] ?? 0;
  if (head[0] !== 0x0a || head[2] !== 0x0a || length >= 0x80 || textLength + 2 > length) return false;
  const next = head[4 + textLength];
  return textLength + 2 === length ? next === 0x0a : next === 0x15 || next === 0x18;
}

const END_RECORD = [0x50, 0x4b, 0x05, 0x06];
const END_RECORD_BYTES = 22;
const MAX_COMMENT_BYTES = 65_535;
/** More signatures than chance puts into 64 KiB: someone is at play. */
const MAX_CANDIDATES = 16;

/**
 * True when a ZIP reader would open this file: readers look for the end-of-central-directory record in the last
 * 64 KiB + 22 bytes and do not mind what comes before (APPNOTE.TXT 4.3.16). A bare signature can come about by chance in
 * weights, so the central directory that it points to (or a ZIP64 locator before it) must be there as well.
 */
export async function hasZipTail(reader: ByteReader): Promise<boolean> {
  const tailBytes = Math.min(reader.sizeBytes, END_RECORD_BYTES + MAX_COMMENT_BYTES);
  if (tailBytes < END_RECORD_BYTES) return false;
  const tailAt = reader.sizeBytes - tailBytes;
  const tail = Buffer.from(await reader.read(tailAt, tailBytes));
  let candidates = 0;
  for (let at = tail.indexOf(Buffer.from(END_RECORD)); at >= 0; at = tail.indexOf(Buffer.from(END_RECORD), at + 1)) {
    if (at + END_RECORD_BYTES > tail.length) return false;
    candidates += 1;
    if (candidates > MAX_CANDIDATES || (await pointsToDirectory(reader, tail, tailAt, at))) return true;
  }
  return false;
}

async function pointsToDirectory(reader: ByteReader, tail: Buffer, tailAt: number, at: number): Promise<boolean> {
  if (at >= 20 && tail.toString("latin1", at - 20, at - 16) === "PK\x06\x07") return true;
  const directoryBytes = tail.readUInt32LE(at + 12);
  const start = tailAt + at - directoryBytes;
  if (directoryBytes < 46 || start < 0) return false;
  const signature = await reader.read(start, 4);
  return Buffer.from(signature).toString("latin1") === "PK\x01\x02";
}
