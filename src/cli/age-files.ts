// SPDX-License-Identifier: Apache-2.0
/** To whom bundles are encrypted, and with what they are opened: options and files, read. Layer: cli. */
import { basename, resolve } from "node:path";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { type KeyText, type Sealing, sealingTo, type Unlock, unlockBy } from "../repo/sealing.ts";
import type { Context } from "./context.ts";
import { openSmallFile, readSmallFile } from "./small-file.ts";

export interface IdentityOptions {
  readonly identity?: readonly string[];
}

export interface RecipientOptions {
  readonly encryptTo?: readonly string[];
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/**
 * What --identity or COFFER_IDENTITY name. The files are read when something encrypted is met, not before.
 * @returns undefined if neither is given
 */
export function unlockFrom({ io }: Context, options: IdentityOptions): Unlock | undefined {
  const own = io.env["COFFER_IDENTITY"];
  const paths = options.identity ?? (own === undefined || own === "" ? [] : [own]);
  if (paths.length === 0) return undefined;
  return unlockBy(() => paths.map((path) => readIdentity(resolve(io.cwd, path))));
}

function readIdentity(path: string): KeyText {
  const name = basename(path);
  const { bytes, mode } = openSmallFile(path, LIMITS.keyFileBytes, "an age identity");
  if ((mode & 0o077) !== 0) {
    const found = (mode & 0o777).toString(8).padStart(4, "0");
    throw new CofferError("KEY_MODE", `${name}: expected mode 0600, found ${found}`);
  }
  return { text: text(bytes), what: name };
}

/**
 * From --encrypt-to: recipients, or `@FILE` with one on a line.
 * @returns undefined if nothing is to be encrypted
 * @throws CofferError RECIPIENT_INVALID, FILE_NOT_FOUND, LIMIT_EXCEEDED
 */
export async function sealingFor({ io }: Context, { encryptTo }: RecipientOptions): Promise<Sealing | undefined> {
  if (encryptTo === undefined) return undefined;
  const sources = encryptTo.map((word, index) => {
    if (!word.startsWith("@")) return { text: word, what: `recipient ${index + 1}` };
    const path = resolve(io.cwd, word.slice(1));
    const bytes = readSmallFile(path, LIMITS.ageHeaderBytes * 2, "a file of recipients");
    return { text: text(bytes), what: basename(path) };
  });
  return sealingTo(sources);
}
