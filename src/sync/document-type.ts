// SPDX-License-Identifier: Apache-2.0
/** Which kind of document some bytes are. Layer: sync. Whether they follow that kind's schema is for its parser. */
import { parseCanonical } from "../base/canonical-json.ts";
import { isCofferError } from "../base/errors.ts";

/** The `type` of a document; undefined for chunk lists and whatever else is no canonical JSON object. */
export function typeOf(bytes: Uint8Array): string | undefined {
  if (bytes[0] !== OPENING_BRACE) return undefined;
  try {
    const value = parseCanonical(bytes);
    const type = typeof value === "object" && "type" in value ? value.type : undefined;
    return typeof type === "string" ? type : undefined;
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return undefined;
  }
}
const OPENING_BRACE = 0x7b;
