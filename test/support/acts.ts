// SPDX-License-Identifier: Apache-2.0
/**
 * Every act that writes, in an order in which each finds what the one before left: the one list that
 * test/slow/kill-points.test.ts runs through and that docs/crash.md is compared with. A command that writes gets its entry
 * here; test/house/acts.test.ts fails until it has one. Layer: test support.
 */

import { sha256 } from "../../src/base/digest.ts";
import type { ErrorCode } from "../../src/base/errors.ts";
import { EXIT, isCofferError } from "../../src/base/errors.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { parseRefPath } from "../../src/base/ref-path.ts";
import { objectPath } from "../../src/objects/layout.ts";
import { add } from "../../src/repo/add.ts";
import { adoptRestore, examineRestore } from "../../src/repo/adopt-restore.ts";
import { makeBundle } from "../../src/repo/bundle.ts";
import { volumeNumbers, writeVolumes } from "../../src/repo/bundle-files.ts";
import { approve, needCandidate, propose } from "../../src/repo/candidates.ts";
import { clone } from "../../src/repo/clone.ts";
import { deleteName, removeBytes } from "../../src/repo/delete.ts";
import { forgetStore } from "../../src/repo/forget.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { gc } from "../../src/repo/gc.ts";
import { exportGit } from "../../src/repo/git-export.ts";
import { importFrom } from "../../src/repo/import.ts";
import { init } from "../../src/repo/init.ts";
import { list } from "../../src/repo/list.ts";
import { promote } from "../../src/repo/promote.ts";
import { pull } from "../../src/repo/pull.ts";
import { planReject, reject } from "../../src/repo/reject.ts";
import { judge } from "../../src/repo/resolve.ts";
import { revoke } from "../../src/repo/revoke.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { checkVolumes } from "../../src/sync/check.ts";
import { openVolumes } from "../../src/sync/volumes.ts";
import { locationOn, type Machine, MEDIA, newLocation, openOn, portsOn, SOURCE, STORE } from "./machine.ts";
import type { MemoryFiles } from "./memory-files.ts";
import { makeSender, SENT, sentTo } from "./sent.ts";

/** One act on one disk, run by a fresh process each time. */
export interface RegisteredAct {
  /** As docs/crash.md calls it. */
  readonly name: string;
  /** The command of the CLI tree that does it: `add`, `policy edit`. */
  readonly command: string;
  /** Makes of the disk that the act before left what this one is for. */
  readonly prepare?: (machine: Machine, disk: MemoryFiles) => Promise<void>;
  /** Opens what it needs and acts. The same `seed` gives the same temporary names. */
  readonly run: (machine: Machine, disk: MemoryFiles, seed: string) => Promise<unknown>;
  /** What people see of what the act is about, as text. May write into the disk, as whoever looks does. */
  readonly look: (machine: Machine, disk: MemoryFiles) => Promise<string>;
  /** The damage that fsck finds there; views are put right on the way. */
  readonly check: (machine: Machine, disk: MemoryFiles) => Promise<readonly unknown[]>;
  /** The code by which the same act says that it was done; undefined: it succeeds and changes nothing. */
  readonly again?: ErrorCode;
  /** False: nobody who looks sees a difference. */
  readonly seen?: false;
  /** False: the next act starts where this one did. */
  readonly leads?: false;
}

const NAME = parseName("acme/tiny@v1");

/** Names, refs and what is still missing under them: all that an act can change for somebody who looks. */
async function lookAt(store: Store): Promise<string> {
  const head = await store.head();
  const names = (await list(store)).names.map(({ name, state, manifest }) => `${name.text} ${state} ${manifest}`);
  const waiting: string[] = [];
  for await (const [ref] of head.listRefs("refs/proposed/")) {
    const parsed = parseRefPath(ref);
    if (parsed.family !== "proposed") continue;
    const { verdict } = await needCandidate(store, parsed.name);
    waiting.push(...verdict.reasons.map((reason) => `${ref}: ${reason.text}`));
  }
  return JSON.stringify([head.root, names, waiting]);
}

/** A name that is denied for a stated reason is no damage. */
async function damageIn(store: Store): Promise<readonly unknown[]> {
  const { exit, problems } = await fsck(store);
  return exit === EXIT.corrupt ? problems : [];
}

type More = Partial<Pick<RegisteredAct, "command" | "again" | "leads" | "seen" | "prepare">>;

function onStore(
  name: string,
  act: (store: Store, machine: Machine) => Promise<unknown>,
  more: More = {},
): RegisteredAct {
  return {
    name,
    command: name,
    run: async (machine, disk, seed) => act(await openOn(machine, disk, seed), machine),
    look: async (machine, disk) => lookAt(await openOn(machine, disk, "look")),
    check: async (machine, disk) => damageIn(await openOn(machine, disk, "check")),
    ...more,
  };
}

/** What `look` says instead where the store cannot be opened for this reason. */
async function unless(code: ErrorCode, look: () => Promise<string>): Promise<string> {
  try {
    return await look();
  } catch (error) {
    if (isCofferError(error, code)) return code;
    throw error;
  }
}

const lookAtNew = (machine: Machine, disk: MemoryFiles): Promise<string> =>
  unless("STORE_NOT_FOUND", async () => lookAt(await openStore(newLocation(machine), portsOn(machine, disk, "look"))));

const INIT: RegisteredAct = {
  name: "init",
  command: "init",
  again: "EXISTS",
  leads: false,
  run: (machine, disk, seed) => init(newLocation(machine), machine.policy, portsOn(machine, disk, seed)),
  look: lookAtNew,
  check: async (machine, disk) => {
    if ((await lookAtNew(machine, disk)) === "STORE_NOT_FOUND") return [];
    return damageIn(await openStore(newLocation(machine), portsOn(machine, disk, "check")));
  },
};

/** The store was put back to an older state than this machine remembers. */
const ADOPT: RegisteredAct = {
  name: "adopt-restore",
  command: "log adopt-restore",
  again: "USAGE",
  leads: false,
  prepare: async (machine, disk) => {
    const { number } = await (await openOn(machine, disk, "prepare")).head();
    await disk.remove(`${STORE}/log/000000/${String(number).padStart(12, "0")}`);
    await disk.fsyncFolder(`${STORE}/log/000000`);
    await disk.remove(`${STORE}/local/head`);
    await disk.fsyncFolder(`${STORE}/local`);
  },
  run: async (machine, disk, seed) => {
    const [location, ports] = [locationOn(machine), portsOn(machine, disk, seed)];
    const { restored } = await examineRestore(location, ports);
    return adoptRestore(location, { head: restored.head, acceptLostRevocations: true }, ports);
  },
  look: (machine, disk) => unless("LOG_BEHIND_MEMORY", async () => lookAt(await openOn(machine, disk, "look"))),
  check: async (machine, disk) => {
    const location = { ...locationOn(machine), memory: false };
    return damageIn(await openStore(location, portsOn(machine, disk, "check")));
  },
};

/** The volumes on the stick, each with what is wrong with it. */
async function lookAtMedia(machine: Machine, disk: MemoryFiles): Promise<string> {
  const files = portsOn(machine, disk, "look").openFolder(`${machine.root}/${MEDIA}`);
  const names = ((await files.list(".")) ?? []).filter((name) => name.endsWith(".tar"));
  if (names.length === 0) return "no volume";
  const { faults, missing, objects } = await checkVolumes(await openVolumes([{ files, path: ".", what: "the stick" }]));
  return JSON.stringify([names, faults.map(({ error }) => error.message), missing, objects]);
}

const BUNDLE: RegisteredAct = {
  name: "bundle create",
  command: "bundle create",
  leads: false,
  run: async (machine, disk, seed) => {
    const ports = portsOn(machine, disk, seed);
    const store = await openStore(locationOn(machine), ports);
    const bundle = await makeBundle(store, { names: [NAME], patterns: [], candidates: false, blobs: true });
    const files = ports.openFolder(`${machine.root}/${MEDIA}`);
    return writeVolumes(store, bundle, volumeNumbers(bundle), { files }, { random: ports.random });
  },
  look: lookAtMedia,
  check: async (machine, disk) => damageIn(await openOn(machine, disk, "check")),
};

const statementOf = async (store: Store) => (await needCandidate(store, NAME)).statement.id;

/** Of what others send: the name's verdict. That a denial comes in an entry before the rest is no state of its own. */
async function lookAtSent(store: Store): Promise<string> {
  const { trusted, standing, manifest } = await judge(store, await store.head(), SENT);
  return JSON.stringify([trusted, standing, manifest]);
}

/** What was taken over before was revoked by the sender since. */
const IMPORT_DENIAL: RegisteredAct = {
  ...onStore("bundle import (a denial)", async (store, machine) => importFrom(store, (await sentTo(machine)).revoked), {
    command: "bundle import",
    leads: false,
    prepare: async (machine, disk) => {
      await importFrom(await openOn(machine, disk, "prepare"), (await sentTo(machine)).trusted);
    },
  }),
  look: async (machine, disk) => lookAtSent(await openOn(machine, disk, "look")),
};

const IMPORT: RegisteredAct = onStore(
  "bundle import",
  async (store, machine) => importFrom(store, (await sentTo(machine)).trusted),
  { leads: false },
);

const PULL: RegisteredAct = onStore("pull", (store, machine) => pull(store, newLocation(machine).root), {
  leads: false,
  prepare: async (machine, disk) => void (await makeSender(machine, disk)),
});

const CLONE: RegisteredAct = {
  name: "clone",
  command: "clone",
  again: "EXISTS",
  leads: false,
  run: async (machine, disk, seed) => {
    const { trusted } = await sentTo(machine);
    const [digest] = trusted.index.value.policies;
    const root = digest && { number: 1, digest };
    return clone(newLocation(machine), async () => trusted, root, portsOn(machine, disk, seed));
  },
  // The store with its root; what stands in it is an import like any other, and can be done again.
  look: (machine, disk) =>
    unless("STORE_NOT_FOUND", async () => (await openStore(newLocation(machine), portsOn(machine, disk, "look"))).pin),
  check: INIT.check,
};

/** Of the store that sent. */
const FORGET: RegisteredAct = onStore(
  "remote forget",
  async (store, machine) => forgetStore(store, (await sentTo(machine)).trusted.index.value.store),
  {
    again: "REMOTE_NOT_FOUND",
    leads: false,
    prepare: async (machine, disk) => {
      await importFrom(await openOn(machine, disk, "prepare"), (await sentTo(machine)).trusted);
    },
  },
);

export const ACTS: readonly RegisteredAct[] = [
  INIT,
  onStore("add", (store, { root }) => {
    const paths = ["notes.txt", "config.json"];
    const files = paths.map((file) => ({ path: parseManifestPath(file), folder: `${root}/${SOURCE}`, file }));
    return add(store, { name: NAME, keep: false, files });
  }),
  onStore("propose", (store, { people }) => propose(store, { name: NAME, signer: people.alice, replace: false })),
  onStore("approve", async (store, { people }) => approve(store, NAME, await statementOf(store), people.alice)),
  onStore(
    "approve (the last)",
    async (store, { people }) => approve(store, NAME, await statementOf(store), people.bob),
    {
      command: "approve",
    },
  ),
  onStore("promote", (store) => promote(store, [NAME]), { again: "NOT_PROPOSED" }),
  onStore("gc", (store) => gc(store, { olderThanS: 3600, dryRun: false }), {
    seen: false,
    leads: false,
    prepare: async (_machine, disk) => {
      // What a stopped import left, an object that nothing names, and one whose day in the trash is over.
      const staging = `${STORE}/local/tmp/import-${"ab".repeat(32)}`;
      await disk.makeFolder(staging);
      disk.plant(`${staging}/${"cd".repeat(16)}.${"ef".repeat(32)}.00000`, new Uint8Array(5));
      const [young, old] = [new Uint8Array(3), new Uint8Array(4)];
      disk.plant(`${STORE}/${objectPath(sha256(young))}`, young);
      disk.plant(`${STORE}/local/trash/${objectPath(sha256(old))}`, old);
    },
  }),
  onStore("fsck (repairing)", (store) => fsck(store), {
    command: "fsck",
    seen: false,
    leads: false,
    prepare: async (_machine, disk) => {
      await disk.remove(`${STORE}/refs/trusted/acme/tiny/v1`);
      disk.plant(`${STORE}/refs/trusted/acme/other/v1`, new Uint8Array(3));
    },
  }),
  BUNDLE,
  onStore("git export", (store) => exportGit(store), { seen: false }),
  ADOPT,
  onStore("reject", async (store, { people }) =>
    reject(store, await planReject(store, { name: NAME }), "a test", people.alice),
  ),
  onStore("revoke", (store, { people }) => revoke(store, { name: NAME, also: [], reason: "a test" }, people.carol)),
  onStore("delete", async (store, { people }) =>
    removeBytes(store, await deleteName(store, { name: NAME, reason: "a test" }, people.carol)),
  ),
  IMPORT,
  IMPORT_DENIAL,
  PULL,
  FORGET,
  CLONE,
];
