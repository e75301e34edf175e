// SPDX-License-Identifier: Apache-2.0
/**
 * One commit of a git host, without its history, as a pack: `fetch` of git's protocol version 2. Layer: git.
 * Format: gitprotocol-v2(5), gitprotocol-pack(5). isomorphic-git's own fetch wants a HEAD that leads somewhere, which a
 * host with one branch of ours need not have, and takes a pack that was cut for a whole one.
 */
import { createHash } from "node:crypto";
import { CofferError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";
import type { GitId } from "./git-object.ts";
import type { ReceivedPack } from "./pack-reader.ts";

const FLUSH = "0000";
const DELIMITER = "0001";

function packet(text: string): string {
  return `${(text.length + 5).toString(16).padStart(4, "0")}${text}\n`;
}

/** The body of a request for `commit` and all that it holds. */
export function fetchRequest(commit: GitId): Uint8Array {
  const wanted = ["no-progress", "ofs-delta", `want ${commit}`, "deepen 1", "done"];
  const text = `${packet("command=fetch")}${DELIMITER}${wanted.map(packet).join("")}${FLUSH}`;
  return new TextEncoder().encode(text);
}

/**
 * The pack in an answer, whole: its count of objects, and its checksum, which is right.
 * @throws CofferError REMOTE_FAILED - without an address, for the caller to add
 */
export function packIn(answer: Uint8Array): ReceivedPack {
  // Not a list of pieces: of one byte each, they would take many times what came.
  const pack = Buffer.allocUnsafe(answer.length);
  let packBytes = 0;
  let inPack = false;
  for (const line of packets(Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength))) {
    if (!inPack) {
      const text = line.toString("latin1");
      if (text.startsWith("ERR ")) throw refused(`it says ${quote(text.slice(4), 200)}`);
      inPack = text === "packfile\n";
    } else if (line[0] === 1) packBytes += line.copy(pack, packBytes, 1);
    else if (line[0] === 3) throw refused(`it says ${quote(line.toString("latin1", 1), 200)}`);
    else if (line[0] !== 2) throw refused("expected a pack, found something else in its place");
  }
  return checkPack(pack.subarray(0, packBytes));
}

/** The lines of an answer; those that are only marks are left out. */
function* packets(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const digits = bytes.toString("latin1", at, at + 4);
    const length = /^[0-9a-f]{4}$/.test(digits) ? Number.parseInt(digits, 16) : Number.NaN;
    if (length === 3 || Number.isNaN(length)) throw refused(`expected a length, found ${quote(digits, 20)}`);
    if (length < 4) at += 4;
    else {
      if (at + length > bytes.length) throw refused("its answer is cut");
      yield bytes.subarray(at + 4, at + length);
      at += length;
    }
  }
}

function checkPack(pack: Buffer): ReceivedPack {
  if (pack.length < 32 || pack.toString("latin1", 0, 4) !== "PACK" || pack.readUInt32BE(4) !== 2) {
    throw refused("expected a pack of version 2, found none");
  }
  const sum = createHash("sha1").update(pack.subarray(0, -20)).digest();
  if (!sum.equals(pack.subarray(-20))) throw refused("its pack does not match the checksum at its end");
  return { pack, objects: pack.readUInt32BE(8) };
}

function refused(what: string): CofferError {
  return new CofferError("REMOTE_FAILED", what);
}
