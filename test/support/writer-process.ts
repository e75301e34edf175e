// SPDX-License-Identifier: Apache-2.0
/**
 * One process of test/slow/writers.test.ts: a writer that commits as fast as it can, or a reader that opens heads until
 * it is told to stop. Takes its config as JSON in the first argument and prints one JSON line per thing done or seen.
 */
import { randomBytes } from "node:crypto";
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import type { Digest } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { readPolicies } from "../../src/repo/dossier.ts";
import type { Ports, StoreLocation } from "../../src/repo/ports.ts";
import { promote } from "../../src/repo/promote.ts";
import { judge } from "../../src/repo/resolve.ts";
import { openStore, type Store } from "../../src/repo/store.ts";

/** The two refs that always move together. */
export const LEFT = "pair/left@main";
export const RIGHT = "pair/right@main";
/** The name that is trusted at first and revoked on the way. */
export const DOOMED = "acme/doomed@main";

export interface WriterConfig {
  readonly role: "writer";
  readonly location: StoreLocation;
  readonly nowS: number;
  readonly writer: string;
  readonly commits: number;
  /** Manifests that stand in the store, for refs to hold. */
  readonly manifests: readonly Digest[];
  /** Names with a fully signed candidate for the doomed bytes: one promotion after every `promoteEvery` commits. */
  readonly candidates: readonly string[];
  readonly promoteEvery: number;
  /** After so many commits it goes on once the doomed name is revoked, so that some come later than that. */
  readonly revokedAfter: number;
}

export interface ReaderConfig {
  readonly role: "reader";
  readonly location: StoreLocation;
  readonly nowS: number;
  /** Opens the store anew after so many heads. */
  readonly reopenAfter: number;
}

/** A promotion that was tried: the entry that made it, or the code that refused it. */
export interface Tried {
  readonly name: string;
  readonly entry?: number;
  readonly code?: string;
}

/** What a reader found at one head. */
export interface Look {
  readonly number: number;
  readonly trusted: boolean;
  readonly code?: string;
  readonly left?: string;
  readonly right?: string;
}

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

function portsAt(nowS: number): Ports {
  return {
    clock: () => nowS,
    random: (length) => randomBytes(length),
    sleep: async (ms) => void (await wait(ms)),
    openFolder: openRealFiles,
  };
}

/**
 * One commit: both halves of the pair go to the manifest after the one that they hold (so a lost commit shows in the
 * end), and a ref of this commit alone comes to be.
 */
async function commitOne(store: Store, { writer, manifests }: WriterConfig, number: number): Promise<void> {
  const [left, right, own] = [LEFT, RIGHT, `${writer}/n${number}@main`].map((text) =>
    nameRef("quarantined", parseName(text)),
  );
  const done = await store.commit(async (head) => {
    if (left === undefined || right === undefined || own === undefined) return undefined;
    const held = await head.readRef(left);
    const at = held === undefined ? -1 : manifests.indexOf(held);
    const to = manifests[(at + 1) % manifests.length];
    if (to === undefined) return undefined;
    return { moves: [left, right, own].map((ref) => ({ ref, to })), note: `${writer} ${number}` };
  });
  if (done === undefined) throw new Error(`commit ${number} of ${writer} moved nothing`);
}

async function tryPromotion(store: Store, name: string): Promise<Tried> {
  try {
    const [promoted] = await promote(store, [parseName(name)]);
    if (promoted === undefined) throw new Error(`${name}: promoted nothing`);
    return { name, entry: promoted.entry };
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return { name, code: error.code };
  }
}

async function revocation(store: Store): Promise<void> {
  const revoked = nameRef("revoked", parseName(DOOMED));
  while ((await (await store.head()).readRef(revoked)) === undefined) await wait(20);
}

async function write(config: WriterConfig): Promise<void> {
  const store = await openStore(config.location, portsAt(config.nowS));
  const waiting = [...config.candidates];
  for (let number = 1; number <= config.commits; number += 1) {
    await commitOne(store, config, number);
    const name = number % config.promoteEvery === 0 ? waiting.shift() : undefined;
    if (name !== undefined) say(await tryPromotion(store, name));
    if (number === config.revokedAfter) await revocation(store);
  }
  if (store.warnings.length > 0) throw new Error(`after commits that stand: ${store.warnings.join("; ")}`);
}

async function look(store: Store): Promise<Look> {
  const head = await store.head();
  const verdict = await judge(store, head, parseName(DOOMED), await readPolicies(store, head));
  const [reason] = verdict.reasons;
  const left = await head.readRef(nameRef("quarantined", parseName(LEFT)));
  const right = await head.readRef(nameRef("quarantined", parseName(RIGHT)));
  return {
    number: head.number,
    trusted: verdict.trusted,
    ...(reason === undefined ? {} : { code: reason.code }),
    ...(left === undefined ? {} : { left }),
    ...(right === undefined ? {} : { right }),
  };
}

async function read(config: ReaderConfig): Promise<void> {
  let stopped = false;
  process.once("SIGTERM", () => {
    stopped = true;
  });
  while (!stopped) {
    const store = await openStore(config.location, portsAt(config.nowS));
    for (let heads = 0; heads < config.reopenAfter && !stopped; heads += 1) {
      say(await look(store));
      await turn(); // nothing above waits for the system, so the signal would never be heard
    }
  }
}

const [, script, text] = process.argv;
if (script?.endsWith("writer-process.ts") && text !== undefined) {
  const config: WriterConfig | ReaderConfig = JSON.parse(text);
  await (config.role === "writer" ? write(config) : read(config));
}
