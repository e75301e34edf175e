// SPDX-License-Identifier: Apache-2.0
/**
 * What comes malformed, or over a limit that everybody who writes it keeps to, is a damaged or hostile bundle, never
 * somebody's bad command line. Layer: sync. Not here: too much that lies together on media (places.ts).
 */
import { CofferError, isCofferError } from "../base/errors.ts";

/** @throws CofferError BUNDLE_INVALID in place of JSON_INVALID, DOCUMENT_INVALID and LIMIT_EXCEEDED; all else as `read` */
export function fromBundle<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw ofBundle(error);
  }
}

/** What to throw in place of an error that the bytes of a bundle led to. */
export function ofBundle(error: unknown): unknown {
  if (!isCofferError(error, "JSON_INVALID", "DOCUMENT_INVALID", "LIMIT_EXCEEDED")) return error;
  return new CofferError("BUNDLE_INVALID", error.message, { cause: error });
}
