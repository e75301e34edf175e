// SPDX-License-Identifier: Apache-2.0
/**
 * How many values a JSON text holds, and how deep, told from its bytes before anything is made of them: a parser makes
 * some hundred bytes of each `{}`, and goes as deep as it is led. Layer: base. Not here: whether the text is JSON.
 */
import { CofferError } from "./errors.ts";
import { LIMITS } from "./limits.ts";

/** Below it even the worst text is harmless, and most documents stay below: they are not looked at twice. */
const SMALL_BYTES = 64 * 1024;

const [QUOTE, COMMA, COLON, BACKSLASH] = [0x22, 0x2c, 0x3a, 0x5c];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * Refuses a text that nests deeper than LIMITS.jsonDepth, or may hold more than `mostValues` values of all kinds together
 * or LIMITS.jsonMembers members of objects. Counts brackets, commas and colons outside of strings: right for everything
 * that a parser reads before it comes to a fault, but that it counts an empty list or object twice.
 *
 * @throws CofferError JSON_INVALID - too deep; LIMIT_EXCEEDED - too many
 */
export function checkJsonSize(bytes: Uint8Array, what: string, mostValues: number): void {
  if (bytes.length <= SMALL_BYTES) return;
  let [values, members, depth] = [1, 0, 0];
  for (let at = 0; at < bytes.length; at += 1) {
    switch (bytes[at]) {
      case QUOTE:
        at = endOfString(bytes, at + 1);
        break;
      case COMMA:
        values += 1;
        if (values > mostValues) tooMany(what, mostValues, "values");
        break;
      case COLON:
        members += 1;
        if (members > LIMITS.jsonMembers) tooMany(what, LIMITS.jsonMembers, "members");
        break;
      case OPEN_LIST:
      case OPEN_OBJECT:
        values += 1;
        if (values > mostValues) tooMany(what, mostValues, "values");
        depth += 1;
        if (depth > LIMITS.jsonDepth) {
          throw new CofferError("JSON_INVALID", `${what}: nested deeper than ${LIMITS.jsonDepth}`);
        }
        break;
      case CLOSE_LIST:
      case CLOSE_OBJECT:
        depth -= 1;
        break;
    }
  }
}

function tooMany(what: string, most: number, kind: string): never {
  throw new CofferError("LIMIT_EXCEEDED", `${what}: expected at most ${most} ${kind}, found more`);
}

/** Where the quote that ends a string stands; the end of the bytes if there is none. */
function endOfString(bytes: Uint8Array, from: number): number {
  for (let at = from; at < bytes.length; at += 1) {
    if (bytes[at] === QUOTE) return at;
    if (bytes[at] === BACKSLASH) at += 1;
  }
  return bytes.length;
}
