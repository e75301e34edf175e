// SPDX-License-Identifier: Apache-2.0
/** Signing elsewhere: the exact bytes and a summary go out (`--out`), a signature comes back (`--in`). Layer: cli. */
import { existsSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { CofferError, passOthers, systemCode } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Name } from "../base/names.ts";
import type { SignatureNamespace } from "../keys/sshsig.ts";
import { makeFolders } from "../repo/system.ts";
import { type Context, quoteArgument, storeFlag } from "./context.ts";
import { writtenJson } from "./json-acts.ts";
import { readSmallFile } from "./small-file.ts";

/** What somebody without access to the store is to sign. */
export interface Errand {
  readonly name: Name;
  /** The command that takes the signature back; the ending of the file is that of the document. */
  readonly command: "approve" | "reject";
  readonly document: "statement" | "refusal";
  readonly namespace: SignatureNamespace;
  readonly bytes: Uint8Array;
  /** What is signed, in words. */
  readonly lines: readonly string[];
}

export interface WrittenForSigning {
  /** Paths of the files. */
  readonly document: string;
  readonly summary: string;
  readonly namespace: SignatureNamespace;
}

/** @throws CofferError EXISTS - the folder holds one for that name; IO_ERROR */
export async function writeForSigning(context: Context, folder: string, errand: Errand): Promise<void> {
  const { io, ui } = context;
  const { name, document, namespace } = errand;
  const base = `${name.namespace}-${name.model}-${name.version}`;
  const target = resolve(io.cwd, folder);
  const file = join(target, `${base}.${document}`);
  const summary = join(target, `${base}${document === "statement" ? "" : `.${document}`}.txt`);
  if (existsSync(file) || existsSync(summary)) throw new CofferError("EXISTS", `${folder} holds ${base} already`);
  try {
    await makeFolders(target);
    writeFileSync(file, errand.bytes, { flag: "wx" });
    const how = `To agree, sign the exact bytes of ${basename(file)} and send the .sig back:\n`;
    const command = `  ssh-keygen -Y sign -n ${namespace} -f KEY ${basename(file)}\n`;
    writeFileSync(summary, `${errand.lines.join("\n")}\n\n${how}${command}`, { flag: "wx" });
  } catch (error) {
    throw new CofferError("IO_ERROR", `cannot write into ${basename(target)} (${systemCode(error)})`, { cause: error });
  }
  const shown = quoteArgument(join(folder, basename(file)));
  ui.json(writtenJson(name, { document: file, summary, namespace }));
  ui.data(file);
  ui.data(summary);
  ui.say(`read the summary, then sign the ${document}'s exact bytes:`);
  ui.say(`  ssh-keygen -Y sign -n ${namespace} -f KEY ${shown}`);
  ui.next(`coffer ${errand.command}${storeFlag(context)} ${name.text} --in ${shown}.sig`);
}

/** @throws CofferError FILE_NOT_FOUND, SIGNATURE_INVALID - too large for one */
export function readSignature({ io }: Context, path: string): Uint8Array {
  try {
    return readSmallFile(resolve(io.cwd, path), LIMITS.signatureBytes, "a signature");
  } catch (error) {
    passOthers(error, "LIMIT_EXCEEDED");
    throw new CofferError("SIGNATURE_INVALID", error.message, { cause: error }); // junk like any other
  }
}

/** The document beside its signature, where `ssh-keygen -Y sign` puts them: `x` beside `x.sig`. */
export function readSigned({ io }: Context, signaturePath: string, what: string): Uint8Array {
  if (!signaturePath.endsWith(".sig")) {
    throw new CofferError("USAGE", `--in: expected a file that ends in .sig, found ${basename(signaturePath)}`);
  }
  const path = signaturePath.slice(0, -".sig".length);
  return readSmallFile(resolve(io.cwd, path), LIMITS.keyFileBytes + LIMITS.textChars * 4, what);
}
