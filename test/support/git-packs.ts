// SPDX-License-Identifier: Apache-2.0
/** Packs that no git would make, and the answer of a git host that holds one. Layer: test support. */
import { createHash } from "node:crypto";
import { deflateSync } from "node:zlib";

/** An entry of a pack. @param size - that it says it has. @param base - in front of its content */
export function packEntry(type: number, content: Uint8Array, size = content.length, base = new Uint8Array()): Buffer {
  return Buffer.concat([entryHeader(type, size), base, deflateSync(content)]);
}

function entryHeader(type: number, size: number): Buffer {
  const bytes = [(type << 4) | (size % 16)];
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) bytes.push(rest % 128);
  return Buffer.from(bytes.map((byte, at) => (at === bytes.length - 1 ? byte : byte | 128)));
}

/** @param count - that it says it has */
export function packOf(entries: readonly Uint8Array[], count = entries.length): Buffer {
  const head = Buffer.from("PACK\0\0\0\x02\0\0\0\0");
  head.writeUInt32BE(count, 8);
  const body = Buffer.concat([head, ...entries]);
  return Buffer.concat([body, createHash("sha1").update(body).digest()]);
}

/** What a host answers that is asked for one branch. */
export function refAnswer(id: string, ref: string): Buffer {
  return Buffer.concat([line(Buffer.from(`${id} ${ref}\n`)), Buffer.from("0000")]);
}

export function packAnswer(pack: Uint8Array): Buffer {
  const parts: Buffer[] = [line(Buffer.from("packfile\n"))];
  for (let at = 0; at < pack.length; at += 60_000) {
    parts.push(line(Buffer.concat([Buffer.from([1]), pack.subarray(at, at + 60_000)])));
  }
  return Buffer.concat([...parts, Buffer.from("0000")]);
}

function line(bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from((bytes.length + 4).toString(16).padStart(4, "0")), bytes]);
}
