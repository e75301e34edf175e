// SPDX-License-Identifier: Apache-2.0
/** What the Files port throws, whichever form it has: system errors as CofferError. Layer: objects. Holds invariant 7. */
import { CofferError, systemCode } from "../base/errors.ts";

const STAGED = /^local\/tmp\/import-[0-9a-f]{64}(?:\/|$)/;

/** The path; of what an import keeps, whose names say nothing to people, what it is. */
function shown(path: string): string {
  return STAGED.test(path) ? "what this import keeps in local/tmp until it is done" : path;
}

/** What the port throws for the system error `error`, met on the way to `doing` ("read", "link" …) `path`. */
export function fileError(error: unknown, doing: string, path: string): CofferError {
  if (error instanceof CofferError) return error;
  const code = systemCode(error);
  const what = shown(path);
  const options = { cause: error };
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return new CofferError("NO_SPACE", `cannot ${doing} ${what}: ${code}`, options);
    case "EROFS":
      return new CofferError("READ_ONLY", `cannot ${doing} ${what}: the file system is read-only`, options);
    case "EMFILE":
    case "ENFILE":
      return new CofferError("IO_ERROR", `cannot ${doing} ${what}: too many files are open (${code})`, options);
    case "ENOTDIR":
      return new CofferError("CORRUPT", `cannot ${doing} ${what}: expected a folder, found something else`, options);
    case "EISDIR":
      return new CofferError("CORRUPT", `cannot ${doing} ${what}: expected a file, found a folder`, options);
    case "ELOOP": // a symbolic link, met with O_NOFOLLOW
    case "ENXIO": // a socket, or a device without a driver
      return notRegular(path, options);
  }
  // Anything but a system error (a wrong argument, say) is our mistake, not the disk's.
  if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) {
    return new CofferError("INTERNAL", `cannot ${doing} ${what}: ${code ?? "unexpected error"}`, options);
  }
  return new CofferError("IO_ERROR", `cannot ${doing} ${what}: ${code}`, options);
}

/** `path` exists and is something else than a regular file. */
export function notRegular(path: string, options?: ErrorOptions): CofferError {
  return new CofferError("CORRUPT", `${path} is not a regular file`, options);
}

/** `path` has `sizeBytes`, more than the caller takes. */
export function overLimit(path: string, sizeBytes: number, limitBytes: number): CofferError {
  return new CofferError("LIMIT_EXCEEDED", `${path}: expected at most ${limitBytes} bytes, found ${sizeBytes}`);
}

/** The folder `path` holds over `most` names, more than the caller takes. */
export function overMany(path: string, most: number): CofferError {
  return new CofferError("LIMIT_EXCEEDED", `${path}: expected at most ${most} names in the folder, found more`);
}

/** A position that no file has: node:fs would take -1 for "the current position". */
export function checkPosition(path: string, position: number): void {
  if (Number.isSafeInteger(position) && position >= 0) return;
  throw new CofferError("INTERNAL", `${path}: expected a position, found ${position}`);
}

/** Runs one call of the system; what it throws becomes what the port throws. */
export function attempt<T>(doing: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fileError(error, doing, path);
  }
}
