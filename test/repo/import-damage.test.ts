// SPDX-License-Identifier: Apache-2.0
/** What a bundle with a damaged volume denies counts, as far as it can be read; nothing else of it does (src/repo/import.ts, src/sync/volumes.ts). */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { truncateSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import { CofferError, type ErrorCode, isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import type { Files, OpenFile } from "../../src/objects/files.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { subFolder } from "../../src/objects/sub-folder.ts";
import { importDenials, importFrom } from "../../src/repo/import.ts";
import { pull } from "../../src/repo/pull.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { itemsOfVolume } from "../../src/sync/cut.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import { type Item, itemPath, type Source } from "../../src/sync/source.ts";
import { volumeFileName } from "../../src/sync/volume-note.ts";
import { openVolumes } from "../../src/sync/volumes.ts";
import { emptyFolder, folderOf, type MadeBundle, placeOf, volumesOf } from "../support/bundles.ts";
import { type Member, makeTeam, model, type Team } from "../support/team-stores.ts";

const OLD = ["acme/one@v1", "acme/two@v1", "acme/three@v1", "acme/four@v1"];
const NEW = "acme/new@v1";

interface World {
  readonly team: Team;
  readonly sender: Member;
  readonly made: MadeBundle;
  /** Some revocation lies after this volume. */
  readonly number: number;
  /** An object in it, not the first. */
  readonly item: Item;
  /** How many revocations lie in other volumes, whole with their signatures. */
  readonly others: number;
  /** A store that trusts all that is revoked. */
  receiver(): Member;
}

async function smallest(member: Member): Promise<MadeBundle> {
  for (let bytes = 8192; ; ) {
    try {
      return await volumesOf(member.store, [NEW], bytes);
    } catch (error) {
      assert.ok(isCofferError(error, "LIMIT_EXCEEDED"), String(error));
      bytes = Number(/at least ([0-9]+) bytes/.exec(error.message)?.[1]) + 3072;
    }
  }
}

async function makeWorld(t: TestContext): Promise<World> {
  const team = makeTeam(t);
  const a = await team.store("a");
  for (const [at, name] of OLD.entries()) await a.trust(name, model(at));
  const receivers: Member[] = [];
  for (let at = 0; at < 8; at += 1) {
    const member = await team.store(`b${at}`);
    await pull(member.store, a.location.root);
    receivers.push(member);
  }
  for (const name of OLD) await a.revoke(name);
  await a.trust(NEW, model(9));
  const made = await smallest(a);
  const { value } = made.bundle.index;
  const volumes = value.volumes.map((_, at) => itemsOfVolume(value, at + 1));
  const about = (id: string) => (item: Item) =>
    (item.kind === "object" && item.id === id) || (item.kind === "signature" && item.object === id);
  const liesIn = (id: string): number[] => volumes.flatMap((items, at) => (items.some(about(id)) ? [at + 1] : []));
  const places = value.revocations.map(liesIn);
  const isAfter = (number: number) => (numbers: readonly number[]) => numbers.every((one) => one > number);
  const middle = (number: number) => volumes[number - 1]?.slice(1).find(({ kind }) => kind === "object");
  const number = value.volumes.map((_, at) => at + 1).find((one) => places.some(isAfter(one)) && middle(one));
  assert.ok(number !== undefined);
  const item = middle(number) ?? assert.fail();
  const others = places.filter((numbers) => !numbers.includes(number)).length;
  const receiver = () => receivers.pop() ?? assert.fail("no more receivers");
  return { team, sender: a, made, number, item, others, receiver };
}

async function revokedIn({ store }: Member): Promise<number> {
  let count = 0;
  for (const name of OLD)
    await resolve(store, parseName(name)).catch((error) => {
      assert.ok(isCofferError(error, "REVOKED"), String(error));
      count += 1;
    });
  return count;
}

/** By the import itself, and before another bundle's. */
async function check(world: World, source: () => Promise<Source>, code: ErrorCode, least = world.others) {
  const [alone, beside] = [world.receiver(), world.receiver()];
  await assert.rejects(importFrom(alone.store, await source()), (error) => isCofferError(error, code));
  await importDenials(beside.store, await source());
  for (const member of [alone, beside]) {
    const count = await revokedIn(member);
    assert.ok(count >= least, `${count} of ${least} revoked`);
    await assert.rejects(resolve(member.store, parseName(NEW)), (error) => isCofferError(error, "NAME_NOT_FOUND"));
  }
}

/** The volumes, one of them changed. */
function changed({ made, number }: World, change: (bytes: Buffer) => Buffer): MadeBundle {
  const volumes = made.volumes.map((bytes, at) => (at + 1 === number ? change(Buffer.from(bytes)) : bytes));
  return { ...made, volumes };
}

function flipped(bytes: Buffer, at: number): Buffer {
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
}

const inFolder = (folder: string) => () => openVolumes([placeOf(folder)]);

test("a damaged header or note, or a volume that was cut short, keeps no denial of later volumes out", async (t) => {
  const world = await makeWorld(t);
  const header = (bytes: Buffer): number => bytes.lastIndexOf(itemPath(world.item));
  const damaged = (change: (bytes: Buffer) => Buffer) => inFolder(folderOf(world.team.folder, changed(world, change)));
  const cases = [
    [damaged((bytes) => flipped(bytes, header(bytes) + 20)), "BUNDLE_INVALID", world.others],
    [damaged((bytes) => flipped(bytes, bytes.lastIndexOf("bundle/volume.json") + 3)), "BUNDLE_INVALID", OLD.length],
    [damaged((bytes) => bytes.subarray(0, header(bytes) + 600)), "VOLUME_DAMAGED", world.others],
  ] as const;
  const stranger = await makeTeam(t).store("stranger");
  const { number } = await stranger.store.head();
  for (const [source, code, least] of cases) {
    await check(world, source, code, least);
    await assert.rejects(importFrom(stranger.store, await source()), (error) => isCofferError(error, code));
  }
  assert.equal((await stranger.store.head()).number, number);
});

test("of copies of one volume that are all damaged, what any of them denies counts", async (t) => {
  const world = await makeWorld(t);
  const { team } = world;
  const made = await volumesOf(world.sender.store, [NEW]);
  const { items, revocations } = made.bundle.index.value;
  const last = items.findLastIndex((item) => item.kind === "object" && revocations.includes(item.id));
  const broken = (item: Item | undefined): string => {
    const [bytes] = made.volumes.map((volume) => Buffer.from(volume));
    assert.ok(item?.kind === "object" && bytes !== undefined);
    return folderOf(team.folder, { ...made, volumes: [flipped(bytes, bytes.lastIndexOf(itemPath(item)) + 20)] });
  };
  const folders = [broken(items[last]), broken(items[1])];
  for (const order of [folders, folders.toReversed()]) {
    const source = () => openVolumes(order.map((folder) => placeOf(folder)));
    await check(world, source, "BUNDLE_INVALID", OLD.length - 1);
  }
});

/** The folder, where one file fails to be read from a place on. */
function failing(folder: string, name: string, from: number, code: string): Files {
  const files = subFolder(openRealFiles(dirname(folder)), basename(folder));
  const cause = Object.assign(new Error(code), { code });
  const open = async (path: string): Promise<OpenFile | undefined> => {
    const file = await files.open(path);
    if (file === undefined || path !== name) return file;
    return {
      read: async (buffer, position) => {
        if (position >= from) throw new CofferError("IO_ERROR", `cannot read it: ${code}`, { cause });
        return file.read(buffer.subarray(0, from - position), position);
      },
      stat: () => file.stat(),
      place: () => file.place(),
      fsync: () => file.fsync(),
      setMode: (mode) => file.setMode(mode),
      close: () => file.close(),
    };
  };
  return { ...files, open };
}

test("a sector that cannot be read keeps no denial of later volumes out; what this process lacks is no damage", async (t) => {
  const world = await makeWorld(t);
  const { team, made, number, item } = world;
  const folder = folderOf(team.folder, made);
  const name = volumeFileName(made.bundle.index.id, number, made.volumes.length);
  const inItem = (made.volumes[number - 1]?.lastIndexOf(itemPath(item)) ?? 0) + 512 + 10;
  const failed = (code: string) => () =>
    openVolumes([{ files: failing(folder, name, inItem, code), path: ".", what: "the folder" }]);
  await check(world, failed("EIO"), "VOLUME_DAMAGED");
  await check(world, failed("EMFILE"), "IO_ERROR", 0);
});

test("an item that is damaged keeps no other out side by side; a pipe ends where its framing does", async (t) => {
  const world = await makeWorld(t);
  const { team, made, item } = world;
  const untarred = emptyFolder(team.folder, "untarred");
  for (const input of made.volumes) execFileSync("tar", ["-x", "-C", untarred], { input });
  truncateSync(join(untarred, itemPath(item)), 10);
  await check(world, inFolder(untarred), "VOLUME_DAMAGED", OLD.length - 1);
  const { volumes } = changed(world, (bytes) => flipped(bytes, bytes.lastIndexOf(itemPath(item)) + 20));
  const pipe = () => openPipe(Readable.from([Buffer.concat(volumes)]), "stdin");
  await check(world, pipe, "BUNDLE_INVALID", 0);
});
