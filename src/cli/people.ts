// SPDX-License-Identifier: Apache-2.0
/**
 * People's keys on this machine: finding the private key of a principal, asking for its passphrase. Layer: cli.
 * Looked for in --key, then the keys folder, then ~/.ssh/id_ed25519.
 */
import { existsSync, readdirSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { CofferError, isCofferError, passOthers, systemCode } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Label, Name } from "../base/names.ts";
import { isEncrypted, type PrivateKey, parsePrivateKey } from "../keys/private-key.ts";
import { type KeyId, type PublicKey, parsePublicKey } from "../keys/public-key.ts";
import { type Signer, tweetnaclSigner } from "../keys/signer.ts";
import { newestPolicy, readPolicies } from "../repo/dossier.ts";
import { principalName } from "../repo/policy-draft.ts";
import type { Store } from "../repo/store.ts";
import type { Verdict } from "../repo/verdict.ts";
import { type Part, whoMay } from "../repo/who-may.ts";
import { type Context, keysFolder } from "./context.ts";
import { openSmallFile, readSmallFile } from "./small-file.ts";

export interface PersonOptions {
  readonly as?: string;
  readonly key?: string;
}

function readKeyFile(path: string): string {
  return keyText(readSmallFile(path, LIMITS.keyFileBytes, "a key"));
}

function keyText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("utf8");
}

/** The public half of a key file: `FILE.pub` beside it, the file itself if that is public, or an open private key. */
export function publicHalf(path: string): PublicKey {
  if (existsSync(`${path}.pub`)) return parsePublicKey(readKeyFile(`${path}.pub`).trim());
  const text = readKeyFile(path);
  if (!text.startsWith("-----BEGIN")) return parsePublicKey(text.trim());
  if (isEncrypted(text))
    throw new CofferError("KEY_NOT_FOUND", `${basename(path)}.pub: expected the public key beside it`);
  return parsePrivateKey(text).publicKey;
}

/** Names in the keys folder, sorted; none if there is no such folder. @throws CofferError IO_ERROR */
export function listKeys(context: Context): string[] {
  try {
    return readdirSync(keysFolder(context)).sort();
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT") return [];
    throw new CofferError("IO_ERROR", `cannot list the keys folder (${code})`, { cause: error });
  }
}

/** Private key files that this person could mean, in order. */
function candidates(context: Context, options: PersonOptions): string[] {
  if (options.key !== undefined) return [resolve(context.io.cwd, options.key)];
  const folder = keysFolder(context);
  const own = listKeys(context).filter((name) => !name.endsWith(".pub"));
  return [...own.map((name) => join(folder, name)), join(context.io.home, ".ssh", "id_ed25519")].filter(existsSync);
}

/**
 * The signer for the person who acts.
 *
 * @throws CofferError KEY_NOT_FOUND - no private key here is theirs; KEY_MODE, PASSPHRASE_NEEDED, PASSPHRASE_WRONG
 */
export async function signerFor(context: Context, store: Store, options: PersonOptions): Promise<Signer> {
  const policy = newestPolicy(await readPolicies(store, await store.head()));
  const who = options.as === undefined ? undefined : principalName(options.as);
  const wanted = new Set(
    [...policy.principals]
      .filter(([name]) => who === undefined || name === who)
      .flatMap(([, keys]) => keys.map((key) => key.keyId)),
  );
  if (wanted.size === 0) throw new CofferError("NOT_ALLOWED", `the policy knows nobody by the name ${options.as}`);
  const matches = candidates(context, options).filter((path) => {
    const keyId = keyIn(path, options.key !== undefined);
    return keyId !== undefined && wanted.has(keyId);
  });
  const [path, ...others] = matches;
  if (path === undefined) {
    throw new CofferError("KEY_NOT_FOUND", `no private key here belongs to ${who ?? "anybody in the policy"}`);
  }
  if (others.length > 0 && who === undefined) {
    throw new CofferError(
      "USAGE",
      `several keys here are in the policy (${matches.map((match) => basename(match)).join(", ")}); say --as NAME`,
    );
  }
  return tweetnaclSigner(await unlock(context, path));
}

/**
 * What a next command wants so that it runs as it is printed: nothing where one key here is in the policy, or where whoever it
 * needs has none here; else who acts, by name if the rule leaves one.
 *
 * @param verdict - on what is to be approved: who has done so already, and who published it
 */
export async function actorFlag(
  context: Context,
  store: Store,
  name: Name,
  part: Part,
  verdict: Pick<Verdict, "approvers" | "publisher"> = { approvers: [] },
): Promise<string> {
  const policies = await readPolicies(store, await store.head());
  const owners = new Map<KeyId, Label[]>();
  for (const [who, keys] of newestPolicy(policies).principals)
    for (const { keyId } of keys) owners.set(keyId, [...(owners.get(keyId) ?? []), who]);
  const here = keysHere(context).flatMap((keyId) => owners.get(keyId) ?? []);
  if (here.length < 2) return "";
  const fit = whoMay(policies, name, part, verdict.publisher).filter(
    (who) => here.includes(who) && !verdict.approvers.includes(who),
  );
  if (fit.length === 0) return "";
  return ` --as ${fit.length === 1 ? fit[0] : "NAME"}`;
}

/** None where they cannot be listed: a hint is no reason to fail. */
function keysHere(context: Context): KeyId[] {
  try {
    return candidates(context, {}).flatMap((path) => keyIn(path, false) ?? []);
  } catch (error) {
    passOthers(error, "IO_ERROR", "USAGE");
    return [];
  }
}

/** A file in the keys folder that is no key is passed over; one that the person named must be right. */
function keyIn(path: string, named: boolean): KeyId | undefined {
  try {
    return publicHalf(path).keyId;
  } catch (error) {
    if (named || !isCofferError(error)) throw error;
    return undefined;
  }
}

async function unlock(context: Context, path: string): Promise<PrivateKey> {
  const { bytes, mode } = openSmallFile(path, LIMITS.keyFileBytes, "a private key");
  if ((mode & 0o077) !== 0) {
    const found = (mode & 0o777).toString(8).padStart(4, "0");
    throw new CofferError("KEY_MODE", `${basename(path)}: expected mode 0600, found ${found}`);
  }
  const text = keyText(bytes);
  if (!text.startsWith("-----BEGIN")) throw new CofferError("KEY_INVALID", `${basename(path)}: expected a private key`);
  if (!isEncrypted(text)) return parsePrivateKey(text);
  return parsePrivateKey(text, await passphrase(context, `passphrase for ${basename(path)}: `));
}

/** The first line of --passphrase-file, without its CR or LF; else asked on the terminal. @throws CofferError PASSPHRASE_NEEDED */
export async function passphrase(context: Context, question: string): Promise<Uint8Array> {
  const { options, io, ui } = context;
  if (options.passphraseFile !== undefined) {
    return firstLine(readSmallFile(resolve(io.cwd, options.passphraseFile), LIMITS.keyFileBytes, "a passphrase"));
  }
  if (!ui.canAsk)
    throw new CofferError("PASSPHRASE_NEEDED", "the key has a passphrase, and there is no terminal to ask on");
  return new TextEncoder().encode(await io.ask(question, true));
}

/** Bytes, not text: a passphrase need not be UTF-8. */
function firstLine(bytes: Uint8Array): Uint8Array {
  const [CR, LF] = [0x0d, 0x0a];
  const at = bytes.indexOf(LF);
  const line = at < 0 ? bytes : bytes.subarray(0, at);
  return line.at(-1) === CR ? line.subarray(0, -1) : line;
}
