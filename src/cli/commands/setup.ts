// SPDX-License-Identifier: Apache-2.0
/** `init`, `key`, `policy`: making a store and looking at who may do what. Layer: cli. */
import { closeSync, existsSync, fsyncSync, openSync, writeSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { short } from "../../base/digest.ts";
import { CofferError, systemCode } from "../../base/errors.ts";
import { LIMITS } from "../../base/limits.ts";
import { encodePrivateKey, generatePrivateKey } from "../../keys/private-key.ts";
import { fingerprint } from "../../keys/public-key.ts";
import { newestVersion, readPolicies } from "../../repo/dossier.ts";
import { init } from "../../repo/init.ts";
import { policyFromFile, policyWarnings, principalName, type TeamMember, teamPolicy } from "../../repo/policy-draft.ts";
import { makeFolders, system } from "../../repo/system.ts";
import { type Context, keysFolder, locate, open, quoteArgument } from "../context.ts";
import { table } from "../format.ts";
import { initialisedJson, keyJson, keysJson, newKeyJson } from "../json-setup.ts";
import { listKeys, passphrase, publicHalf } from "../people.ts";
import { readSmallFile } from "../small-file.ts";

export interface InitOptions {
  readonly me?: string;
  readonly key?: string;
  readonly team?: string;
  readonly threshold?: string;
  readonly separate?: boolean;
  readonly policy?: string;
  readonly shared?: boolean;
}

export async function runInit(context: Context, folder: string, options: InitOptions): Promise<void> {
  const { io, ui } = context;
  const policy = draftPolicy(context, options);
  const root = resolve(io.cwd, folder);
  const location = locate(context, root);
  if (options.shared === true && location.secrets === undefined) {
    throw new CofferError(
      "USAGE",
      "--shared: expected --secrets too, a folder that the group can read for the store key",
    );
  }
  const done = await init({ ...location, shared: options.shared === true }, policy, io.ports);
  const storeKey = join(done.secrets, "store_key");
  const warnings = policyWarnings(policy.value);
  ui.json(initialisedJson(done, root, storeKey, warnings));
  ui.say(`made the store ${folder}`);
  ui.say(`store id   ${done.storeId}`);
  ui.say(`policy     1:${policy.id}`);
  ui.say(`store key  ${storeKey} (back it up; without it the store is read-only)`);
  for (const [name, keys] of policy.value.principals) {
    ui.say(`${name.padEnd(10)} ${keys.map((key) => fingerprint(key)).join(", ")}`);
  }
  for (const warning of warnings) ui.warn(warning);
  const where = relative(io.cwd, root) === "" ? "" : ` --store ${quoteArgument(folder)}`;
  ui.next(`coffer add${where} FILES… --name NAMESPACE/MODEL@VERSION`);
}

function draftPolicy(context: Context, options: InitOptions) {
  const { random, clock } = context.io.ports;
  const ways = [options.me, options.team, options.policy].filter((way) => way !== undefined);
  if (ways.length !== 1)
    throw new CofferError("USAGE", "init: say one of --me NAME, --team a=a.pub,b=b.pub or --policy FILE");
  if (options.policy !== undefined) return policyFromFile(readPolicyFile(context, options.policy), random, clock());
  const team = options.team === undefined ? [myself(context, options)] : parseTeam(context, options.team);
  const threshold = options.threshold === undefined ? Math.min(2, team.length) : wholeNumber(options.threshold);
  return teamPolicy(team, threshold, options.separate === true, random, clock());
}

function readPolicyFile({ io }: Context, path: string): Uint8Array {
  return readSmallFile(resolve(io.cwd, path), LIMITS.policyBytes, "a policy");
}

function wholeNumber(text: string): number {
  if (!/^[1-9][0-9]{0,3}$/.test(text))
    throw new CofferError("USAGE", `--threshold: expected a whole number from 1, found ${text}`);
  return Number(text);
}

/** --key, else the key of that name in the keys folder, else ~/.ssh/id_ed25519. */
function myself(context: Context, { me = "", key }: InitOptions): TeamMember {
  const name = principalName(me);
  const places = [join(keysFolder(context), name), join(context.io.home, ".ssh", "id_ed25519")];
  const path = key === undefined ? places.find((place) => existsSync(place)) : resolve(context.io.cwd, key);
  if (path === undefined)
    throw new CofferError(
      "KEY_NOT_FOUND",
      `no key for ${name}: expected --key FILE, a key named ${name}, or ~/.ssh/id_ed25519`,
    );
  return { name, keys: [publicHalf(path)] };
}

/** `alice=alice.pub,bob=bob.pub`; a person may be named several times, once for each key. */
function parseTeam({ io }: Context, text: string): TeamMember[] {
  const members = new Map<string, TeamMember>();
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    if (at < 1)
      throw new CofferError("USAGE", `--team: expected NAME=KEY.pub, found ${JSON.stringify(part.slice(0, 80))}`);
    const name = principalName(part.slice(0, at).trim());
    const key = publicHalf(resolve(io.cwd, part.slice(at + 1).trim()));
    const before = members.get(name);
    members.set(name, { name, keys: before === undefined ? [key] : [...before.keys, key] });
  }
  return [...members.values()];
}

export interface KeyNewOptions {
  readonly out?: string;
  /** commander's form of --no-passphrase. */
  readonly passphrase: boolean;
}

export async function runKeyNew(context: Context, name: string, options: KeyNewOptions): Promise<void> {
  const { io, ui } = context;
  principalName(name);
  const path = options.out === undefined ? join(keysFolder(context), name) : resolve(io.cwd, options.out);
  if (existsSync(path) || existsSync(`${path}.pub`))
    throw new CofferError("EXISTS", `${basename(path)}: there is a key already`);
  const secret = options.passphrase ? await newPassphrase(context) : undefined;
  const key = generatePrivateKey(io.ports.random, name);
  await system("make the folder for the key", () => makeFolders(dirname(path), 0o700));
  writeNew(path, 0o600, encodePrivateKey(key, io.ports.random, secret));
  writeNew(`${path}.pub`, 0o644, `${key.publicKey.text} ${name}\n`);
  ui.json(newKeyJson(name, `${path}.pub`, key.publicKey, secret !== undefined));
  ui.data(`${path}.pub`);
  ui.say(`made a key for ${name}: ${fingerprint(key.publicKey)}`);
  if (secret === undefined) ui.warn("the private key has no passphrase: whoever reads the file can sign");
  ui.next(
    options.out === undefined
      ? `coffer init my.coffer --me ${name}`
      : `coffer init my.coffer --me ${name} --key ${quoteArgument(options.out)}`,
  );
}

async function newPassphrase(context: Context): Promise<Uint8Array> {
  const first = await passphrase(context, "new passphrase: ");
  if (first.length === 0)
    throw new CofferError("PASSPHRASE_NEEDED", "the passphrase is empty; say --no-passphrase if you mean none");
  if (context.options.passphraseFile !== undefined) return first;
  const second = await passphrase(context, "the same again: ");
  if (Buffer.compare(first, second) !== 0) throw new CofferError("PASSPHRASE_WRONG", "the two passphrases differ");
  return first;
}

function writeNew(path: string, mode: number, text: string): void {
  try {
    const file = openSync(path, "wx", mode);
    try {
      writeSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    const code = systemCode(error);
    const kind = code === "EEXIST" ? "EXISTS" : code === "ENOSPC" ? "NO_SPACE" : "IO_ERROR";
    throw new CofferError(kind, `${basename(path)}: cannot write the key (${code})`, { cause: error });
  }
}

export async function runKeyList(context: Context): Promise<void> {
  const folder = keysFolder(context);
  const files = listKeys(context).filter((name) => name.endsWith(".pub"));
  const keys = files.map((file) => [file.slice(0, -4), publicHalf(join(folder, file))] as const);
  context.ui.json(keysJson(keys));
  const rows = keys.map(([name, key]) => [name, fingerprint(key), key.keyId]);
  for (const line of table(rows)) context.ui.data(line);
  if (rows.length === 0) context.ui.next("coffer key new NAME");
}

export async function runKeyShow(context: Context, name: string): Promise<void> {
  const own = join(keysFolder(context), name);
  const path = /^[a-z0-9][a-z0-9._-]*$/.test(name) && existsSync(`${own}.pub`) ? own : resolve(context.io.cwd, name);
  const key = publicHalf(path);
  context.ui.json(keyJson(key));
  for (const line of table([
    ["key", key.text],
    ["fingerprint", fingerprint(key)],
    ["key id", key.keyId],
  ]))
    context.ui.data(line);
}

export async function runPolicyShow(context: Context): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  const policies = await readPolicies(store, await store.head());
  const { id, value: policy } = newestVersion(policies);
  if (ui.inJson) {
    const bytes = await store.objects.read(id);
    return ui.json({ id, policy: JSON.parse(new TextDecoder().decode(bytes)) });
  }
  ui.data(`policy ${policy.number}  ${id}`);
  ui.data(`to change it: ${policy.rootRole.threshold} of ${policy.rootRole.principals.join(", ")}`);
  for (const [name, keys] of policy.principals) {
    ui.data(`${name}: ${keys.map((key) => fingerprint(key)).join(", ")}`);
  }
  for (const rule of policy.rules) {
    const { approvers, revokers } = rule;
    ui.data(`rule ${rule.names.text}`);
    ui.data(`  publishers ${rule.publishers?.join(", ") ?? "(nobody)"}`);
    const apart = approvers?.notPublisher === true ? ", the publisher not counted" : "";
    ui.data(
      `  approvers  ${approvers === undefined ? "(nobody)" : `${approvers.threshold} of ${approvers.principals.join(", ")}${apart}`}`,
    );
    ui.data(`  revokers   ${revokers.threshold} of ${revokers.principals.join(", ")}`);
    if (rule.formats !== undefined) ui.data(`  formats    ${rule.formats.join(", ")}`);
    for (const need of rule.evidence ?? []) {
      const by = need.signers === undefined ? "this store" : need.signers.join(", ");
      ui.data(
        `  evidence   ${need.kind} by ${by}${need.maxAgeDays === undefined ? "" : `, at most ${need.maxAgeDays} days old`}`,
      );
    }
    if (rule.freshness !== undefined)
      ui.data(`  freshness  warn after ${rule.freshness.warnDays} days, deny after ${rule.freshness.denyDays}`);
  }
  ui.say(`store ${short(store.id)}`);
}
