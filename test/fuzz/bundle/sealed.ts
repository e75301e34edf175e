// SPDX-License-Identifier: Apache-2.0
/**
 * Encrypted volumes for the fuzzer: age files that are the same on any day, from fixed keys; ways to change one, as somebody
 * who has no key could, and as its sender could; and what must hold of what is read from it. Layer: test support.
 */
import { createHmac, createPrivateKey, createPublicKey, diffieHellman, hkdfSync } from "node:crypto";
import { isCofferError } from "../../../src/base/errors.ts";
import { LIMITS } from "../../../src/base/limits.ts";
import { headerEnd, unlockWith } from "../../../src/sync/age-header.ts";
import { CHUNK_BYTES, NONCE_BYTES, SEALED_CHUNK_BYTES } from "../../../src/sync/age-stream.ts";
import { unsealFile, unsealStream } from "../../../src/sync/sealed.ts";
import { sealByHand } from "../../support/age.ts";
import { MemoryFiles } from "../../support/memory-files.ts";
import type { Chance } from "./chance.ts";

/** bech32 of 32 bytes 7, and of 32 bytes 8: nobody's. */
const IDENTITY = "AGE-SECRET-KEY-1QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSKMP32K";
const OTHER = "AGE-SECRET-KEY-1PQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQWM47SV";
const raw = (byte: number): Buffer => Buffer.alloc(32, byte);

/** What the receiver has to open them with. */
export const KEYS = ["right", "wrong", "none"] as const;

export type Key = (typeof KEYS)[number];

export const unlockOf = (key: Key) =>
  key === "none" ? undefined : unlockWith(async () => [key === "right" ? IDENTITY : OTHER]);

const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replaceAll("=", "");
const derive = (secret: Uint8Array, salt: Uint8Array, info: string): Buffer =>
  Buffer.from(hkdfSync("sha256", secret, salt, info, 32));

function privateKey(bytes: Buffer) {
  const key = Buffer.concat([Buffer.from("302e020100300506032b656e04220420", "hex"), bytes]);
  return createPrivateKey({ key, format: "der", type: "pkcs8" });
}
const publicBytes = (key: ReturnType<typeof privateKey>): Buffer =>
  createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);

/** One recipient: the wrapped key, by a fixed ephemeral key. */
function stanza(fileKey: Uint8Array, to: Buffer, ephemeral: Buffer): string {
  const [theirs, ours] = [privateKey(to), privateKey(ephemeral)];
  const share = publicBytes(ours);
  const secret = diffieHellman({ privateKey: ours, publicKey: createPublicKey(theirs) });
  const salt = Buffer.concat([share, publicBytes(theirs)]);
  const key = derive(secret, salt, "age-encryption.org/v1/X25519");
  return `-> X25519 ${b64(share)}\n${b64(sealByHand(key, 0, false, fileKey))}\n`;
}

/** How a file is put together; all of it is the choice of whoever makes one. */
interface Making {
  readonly stanzas: string;
  readonly version?: string;
  readonly mac?: Buffer;
  /** Chunks as they are numbered, closed and cut, if not as they should be. */
  readonly chunks?: readonly (readonly [number: number, isLast: boolean, clear: Uint8Array])[];
}

export const FILE_KEY: Buffer = Buffer.alloc(16, 3);

function sealWith(clear: Uint8Array, number: number, { stanzas, version, mac, chunks }: Making): Buffer {
  const head = `${version ?? "age-encryption.org/v1"}\n${stanzas}---`;
  const good = createHmac("sha256", derive(FILE_KEY, Buffer.alloc(0), "header"))
    .update(head)
    .digest();
  const nonce = Buffer.alloc(NONCE_BYTES, number + 1);
  const key = derive(FILE_KEY, nonce, "payload");
  const sealed = (chunks ?? cut(clear)).map(([at, isLast, bytes]) => sealByHand(key, at, isLast, bytes));
  return Buffer.concat([Buffer.from(`${head} ${b64(mac ?? good)}\n`, "latin1"), nonce, ...sealed]);
}

function cut(clear: Uint8Array): (readonly [number, boolean, Uint8Array])[] {
  const count = Math.max(1, Math.ceil(clear.length / CHUNK_BYTES));
  return Array.from({ length: count }, (_, at) => [
    at,
    at === count - 1,
    clear.subarray(at * CHUNK_BYTES, (at + 1) * CHUNK_BYTES),
  ]);
}

const OURS = (): string => stanza(FILE_KEY, raw(7), raw(21));

/** Each volume by itself, or all of them as one file, as a pipe has them. */
export function sealAll(volumes: readonly Buffer[], medium: "pipe" | "files" | "folder"): Buffer[] {
  const clears = medium === "pipe" ? [Buffer.concat(volumes)] : volumes;
  return clears.map((clear, at) => sealWith(clear, at, { stanzas: OURS() }));
}

/** Headers that a sender can make, good ones and others. */
const STANZAS: readonly ((chance: Chance) => string)[] = [
  () => "",
  () => stanza(FILE_KEY, raw(8), raw(22)),
  () => stanza(FILE_KEY, raw(8), raw(22)) + OURS(),
  () => OURS() + OURS(),
  (chance) => `${OURS()}-> grease${chance.below(100)}-grease x y\n${b64(Buffer.alloc(chance.below(200), 1))}\n\n`,
  (chance) => `-> ${"\x01\x1b[2J\u00ff".slice(chance.below(5))} ${"a ".repeat(chance.below(40))}\n\n${OURS()}`,
  (chance) => OURS() + `-> x\n${b64(Buffer.alloc(48, 1))}\n`.repeat(chance.below(700)),
  (chance) => `-> scrypt ${b64(Buffer.alloc(16, 2))} ${chance.of(["1", "10", "30", "99", "x"])}\n${b64(raw(1))}\n`,
  (chance) => `-> X25519 ${b64(Buffer.alloc(chance.of([0, 16, 31, 32, 33])))}\n${b64(raw(1))}\n${OURS()}`,
  (chance) => OURS().replace("\n", chance.of(["\r\n", " \n", "\n\n", " x\n"])),
  (chance) => stanza(Buffer.alloc(chance.of([0, 8, 15, 17, 64]), 3), raw(7), raw(23)),
];

function chunksOf(clear: Buffer, chance: Chance): NonNullable<Making["chunks"]> {
  const chunks = cut(clear);
  const at = chance.below(chunks.length);
  const [number, isLast, bytes] = chunks[at] ?? [0, true, clear];
  const what = chance.below(7);
  if (what === 0) chunks[at] = [number, !isLast, bytes];
  else if (what === 1) chunks[at] = [number + 1 + chance.below(3), isLast, bytes];
  else if (what === 2) chunks.push([chunks.length, true, Buffer.alloc(chance.below(2) * 100)]);
  else if (what === 3) chunks.splice(at, 1);
  else if (what === 4) chunks[at] = [number, isLast, bytes.subarray(0, chance.below(bytes.length + 1))];
  else if (what === 5) chunks.splice(at, 0, [number, isLast, bytes]);
  else chunks.push([chunks.length, chance.below(2) === 0, bytes]);
  return chunks;
}

/** What somebody makes who chooses all of it: any clear bytes, any header, chunks in any form. */
export function sealOddly(clears: readonly Buffer[], chance: Chance): Buffer[] {
  return clears.map((clear, at) => {
    const what = chance.below(5);
    const stanzas = what === 0 || what === 4 ? chance.of(STANZAS)(chance) : OURS();
    const version = what === 1 ? chance.of(["age-encryption.org/v2", "age-encryption.org/v1\r", "age"]) : undefined;
    const mac = what === 2 ? Buffer.alloc(chance.of([0, 31, 32, 33]), 5) : undefined;
    const chunks = what >= 3 ? chunksOf(clear, chance) : undefined;
    return sealWith(clear, at, {
      stanzas,
      ...(version === undefined ? {} : { version }),
      ...(mac === undefined ? {} : { mac }),
      ...(chunks === undefined ? {} : { chunks }),
    });
  });
}

const bodyAt = (file: Buffer): number => Math.min(file.length, (headerEnd(file) ?? 0) + NONCE_BYTES);

type Change = (files: Buffer[], at: number, chance: Chance) => Buffer;

/** What can be done to an encrypted file without its key. */
const CHANGES: readonly Change[] = [
  (files, at, chance) => flipped(files[at] as Buffer, chance.near((files[at] as Buffer).length), chance),
  (files, at, chance) => flipped(files[at] as Buffer, chance.below(bodyAt(files[at] as Buffer) + 1), chance),
  (files, at, chance) => (files[at] as Buffer).subarray(0, chance.near((files[at] as Buffer).length)),
  (files, at, chance) => {
    const file = files[at] as Buffer;
    const chunks = Math.floor((file.length - bodyAt(file)) / SEALED_CHUNK_BYTES);
    return file.subarray(
      0,
      bodyAt(file) + chance.below(chunks + 1) * SEALED_CHUNK_BYTES + chance.of([0, 0, 1, 15, 16]),
    );
  },
  (files, at, chance) => Buffer.concat([files[at] as Buffer, Buffer.alloc(1 + chance.below(SEALED_CHUNK_BYTES))]),
  (files, at) => Buffer.concat([files[at] as Buffer, files[at] as Buffer]),
  (files, at, chance) => {
    // Chunks in another order, left out, or those of another file.
    const [file, from] = [files[at] as Buffer, chance.of(files)];
    const chunk = (of: Buffer, number: number): Buffer =>
      of.subarray(bodyAt(of)).subarray(number * SEALED_CHUNK_BYTES, (number + 1) * SEALED_CHUNK_BYTES);
    const count = Math.max(1, Math.ceil((file.length - bodyAt(file)) / SEALED_CHUNK_BYTES));
    const all = Array.from({ length: count }, (_, number) => chunk(file, number));
    all.splice(chance.below(count), chance.below(2), chunk(from, chance.below(count)));
    return Buffer.concat([file.subarray(0, bodyAt(file)), ...all]);
  },
  (files, at, chance) => {
    // The header of one and the payload of another.
    const [file, other] = [files[at] as Buffer, chance.of(files)];
    return Buffer.concat([other.subarray(0, bodyAt(other)), file.subarray(bodyAt(file))]);
  },
  (files, at, chance) => {
    const file = files[at] as Buffer;
    const lines = file.toString("latin1", 0, headerEnd(file) ?? 0).split("\n");
    const line = chance.below(lines.length);
    const what = chance.below(4);
    if (what === 0) lines.splice(line, 1);
    else if (what === 1) lines.splice(line, 0, chance.of(lines));
    else if (what === 2) lines[line] = `${lines[line]}${chance.of([" ", "=", "A", "\r", "\0"])}`;
    else lines.splice(line, 0, ...Array<string>(chance.below(900)).fill(`-> x ${"y".repeat(chance.below(50))}\n`));
    return Buffer.concat([Buffer.from(lines.join("\n"), "latin1"), file.subarray(headerEnd(file) ?? 0)]);
  },
  (files, at, chance) => {
    const begin = chance.of(["-----BEGIN AGE ENCRYPTED FILE-----\n", "age-encryption.org/v9\n", "\n", "x"]);
    return Buffer.concat([Buffer.from(begin), files[at] as Buffer]);
  },
  (files, at, chance) => {
    // A header that does not end, or late.
    const length = LIMITS.ageHeaderBytes + chance.of([-100, -1, 0, 1, 100_000]);
    const lines = Buffer.from(`age-encryption.org/v1\n-> x\n`.padEnd(length, `${"A".repeat(64)}\n`));
    return chance.below(2) === 0 ? lines : Buffer.concat([lines, (files[at] as Buffer).subarray(22)]);
  },
];

function flipped(file: Buffer, at: number, chance: Chance): Buffer {
  const next = Buffer.from(file);
  if (at < next.length) next[at] = (next[at] ?? 0) ^ (1 << chance.below(8));
  return next;
}

export function mutateSealed(files: Buffer[], chance: Chance): void {
  const at = chance.below(files.length);
  files[at] = chance.of(CHANGES)(files, at, chance);
}

async function* piped(file: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < file.length; at += 5003) yield file.subarray(at, at + 5003);
}

/** All that can be read of a file from front to back, and whether that is all of it. */
async function readThrough(file: Buffer): Promise<{ readonly bytes: Buffer; readonly whole: boolean }> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of unsealStream(piped(file), "v.age", unlockOf("right"))) pieces.push(Buffer.from(piece));
    return { bytes: Buffer.concat(pieces), whole: true };
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return { bytes: Buffer.concat(pieces), whole: false };
  }
}

/** The same, chunk by chunk from the last to the first; undefined where it cannot be opened, or is not encrypted. */
async function readBackwards(file: Buffer): Promise<readonly (readonly [at: number, bytes: Buffer])[] | undefined> {
  const files = new MemoryFiles();
  files.plant("v.age", file);
  const opened = await files.open("v.age");
  if (opened === undefined) return undefined;
  try {
    const { file: clear, sealed } = await unsealFile(opened, "v.age", unlockOf("right"));
    if (!sealed) return undefined;
    const found: [number, Buffer][] = [];
    for (let end = (await clear.stat()).sizeBytes; end > 0; ) {
      const at = Math.max(0, end - CHUNK_BYTES - 17);
      const buffer = Buffer.alloc(end - at);
      end = at;
      try {
        found.push([at, buffer.subarray(0, await clear.read(buffer, at))]);
      } catch (error) {
        if (!isCofferError(error)) throw error;
      }
    }
    return found;
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return undefined;
  }
}

/** What was not changed is read whole, or nothing is tried here. @throws TypeError */
export async function needWhole(file: Buffer, clears: readonly Buffer[]): Promise<void> {
  const { bytes, whole } = await readThrough(file);
  const pieces = await readBackwards(file);
  const length = pieces?.reduce((sum, [, piece]) => sum + piece.length, 0);
  if (!whole || length !== bytes.length || !clears.some((clear) => clear.equals(bytes)))
    throw new TypeError("an encrypted seed cannot be read");
}

/**
 * Whoever has no key can keep bytes from being read, and nothing else.
 * @param clears - all that was ever encrypted with these keys
 */
export async function readsNothingElse(file: Buffer, clears: readonly Buffer[]): Promise<string | undefined> {
  const { bytes, whole } = await readThrough(file);
  const isSealed = file.toString("latin1", 0, 22) === "age-encryption.org/v1\n";
  if (!isSealed) return whole && !bytes.equals(file) ? "a file that is not encrypted is read as another" : undefined;
  const fits = clears.filter((clear) => clear.subarray(0, bytes.length).equals(bytes));
  if (fits.length === 0) return "the stream gives bytes that nobody encrypted";
  if (whole && !fits.some(({ length }) => length === bytes.length)) return "the stream ends early and says nothing";
  const pieces = await readBackwards(file);
  for (const [at, piece] of pieces ?? []) {
    if (!clears.some((clear) => clear.subarray(at, at + piece.length).equals(piece)))
      return `the file gives bytes at ${at} that nobody encrypted`;
  }
  if (whole && pieces === undefined) return "the stream can be read to its end, and the file cannot be opened";
  return undefined;
}
