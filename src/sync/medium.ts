// SPDX-License-Identifier: Apache-2.0
/**
 * Files on media that nobody vouches for: one that cannot be read there is a damaged volume, which keeps no other out, while
 * what fails on our side ends the whole act. Layer: sync. Not here: what a volume holds (volumes.ts).
 */
import { CofferError, isCofferError, systemCode } from "../base/errors.ts";
import type { OpenFile } from "../objects/files.ts";

/** What this process or machine lacks, and no medium is to blame for. */
const OURS: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EINTR"]);

/**
 * One call on a medium.
 * @param what - how people call the file
 * @throws CofferError VOLUME_DAMAGED - it cannot be read, or is no file
 */
export async function fromMedium<T>(what: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!isCofferError(error, "IO_ERROR", "CORRUPT")) throw error;
    const code = systemCode(error.cause);
    if (code !== undefined && OURS.has(code)) throw error;
    const found = error.code === "CORRUPT" ? "something else" : `one that cannot be read (${code ?? "it changed"})`;
    throw new CofferError("VOLUME_DAMAGED", `${what}: expected a file, found ${found}`, { cause: error });
  }
}

/** The same file, for reading. */
export function mediumFile(file: OpenFile, what: string): OpenFile {
  return {
    read: (buffer, position) => fromMedium(what, () => file.read(buffer, position)),
    stat: () => fromMedium(what, () => file.stat()),
    place: () => file.place(),
    fsync: () => file.fsync(),
    setMode: (mode) => file.setMode(mode),
    close: () => fromMedium(what, () => file.close()),
  };
}
