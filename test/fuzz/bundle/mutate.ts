// SPDX-License-Identifier: Apache-2.0
/**
 * Ways to change a bundle: bytes and blocks as a bad medium does, members and sizes as somebody with an editor does, the
 * index and the documents as its sender, a stranger or a person of the policy could. Layer: test support.
 */
import type { Chance } from "./chance.ts";
import { encoded, type Json, type Loose, type Member, parsed, readdress, resign, sortSets } from "./loose.ts";
import type { FuzzWorld } from "./world.ts";

type Volumes = Buffer[];

const BLOCK = 512;

function sum(header: Buffer): void {
  header.fill(" ", 148, 156);
  const total = header.reduce((all, byte) => all + byte, 0);
  header.write(`${total.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
}

/** Texts for fields of a header, and the place of each. */
const FIELDS: readonly (readonly [number, readonly string[]])[] = [
  [
    0,
    ["../../etc/passwd", "/etc/passwd", "objects/../../x", "OBJECTS", "bundle/index.json", "bundle/volume.json", "\0"],
  ],
  [100, ["0000777\0"]],
  [108, ["0000001\0"]],
  [124, ["77777777777\0", "00000000000\0", "00000000001\0", "\x80\0\0\0", "-0000000001\0", "          1\0"]],
  [136, ["00000000001\0"]],
  [156, ["1", "2", "3", "4", "5", "6", "7", "x", "g", "L", "K", "S", "\0"]],
  [157, ["../../etc/passwd\0"]],
  [257, ["ustar  \0", "\0\0\0\0\0\0\0\0"]],
  [265, ["root\0"]],
  [329, ["0000001\0"]],
  [345, ["../..\0", "objects\0"]],
  [500, ["x"]],
];

function headersOf(volume: Buffer): number[] {
  const found: number[] = [];
  for (let at = 0; at + BLOCK <= volume.length; at += BLOCK) {
    if (volume.toString("latin1", at + 257, at + 262) === "ustar") found.push(at);
    if (found.length > 200) break;
  }
  return found;
}

const RAW: readonly ((volumes: Volumes, at: number, chance: Chance) => void)[] = [
  (volumes, at, chance) => {
    const volume = volumes[at] as Buffer;
    for (let left = chance.below(4); left >= 0; left -= 1) volume[chance.near(volume.length)] = chance.below(256);
  },
  (volumes, at, chance) => {
    const volume = volumes[at] as Buffer;
    const place = chance.near(volume.length);
    volume[place] = (volume[place] ?? 0) ^ (1 << chance.below(8));
  },
  (volumes, at, chance) => {
    const volume = volumes[at] as Buffer;
    volumes[at] = volume.subarray(
      0,
      chance.below(3) === 0 ? volume.length - chance.below(3 * BLOCK) : chance.near(volume.length),
    );
  },
  (volumes, at, chance) => {
    volumes[at] = Buffer.concat([volumes[at] as Buffer, Buffer.alloc(chance.below(3 * BLOCK), chance.below(2))]);
  },
  (volumes, at, chance) => {
    const [from, to] = [chance.of(volumes), volumes[at] as Buffer];
    const source = chance.near(from.length / BLOCK) * BLOCK;
    from.copy(to, chance.near(to.length / BLOCK) * BLOCK, source, source + BLOCK * (1 + chance.below(3)));
  },
  (volumes, at, chance) => {
    const volume = volumes[at] as Buffer;
    const place = chance.near(volume.length / BLOCK) * BLOCK;
    const blocks = BLOCK * (1 + chance.below(3));
    const middle = chance.below(2) === 0 ? [volume.subarray(place, place + blocks)] : [];
    const rest = volume.subarray(middle.length > 0 ? place : place + blocks);
    volumes[at] = Buffer.concat([volume.subarray(0, place), ...middle, rest]);
  },
  (volumes, at, chance) => {
    const volume = volumes[at] as Buffer;
    const places = headersOf(volume);
    if (places.length === 0) return;
    const header = volume.subarray(chance.of(places)).subarray(0, BLOCK);
    const [offset, texts] = chance.of(FIELDS);
    header.write(chance.of(texts), offset, "latin1");
    if (chance.below(4) > 0) sum(header);
  },
  (volumes, at, chance) => {
    const other = chance.below(volumes.length);
    const action = chance.below(3);
    if (action === 0) [volumes[at], volumes[other]] = [volumes[other] as Buffer, volumes[at] as Buffer];
    else if (action === 1) volumes.splice(at, 1, ...(volumes.length > 1 ? [] : [volumes[at] as Buffer]));
    else if (volumes.length < 6) volumes.push(Buffer.from(volumes[other] as Buffer));
  },
  (volumes, _, chance) =>
    void volumes.push(
      ...chance.of(chance.world.seeds.filter(({ large }) => !large)).volumes.map((one) => Buffer.from(one)),
    ),
];

export function mutateRaw(volumes: Volumes, chance: Chance): void {
  chance.of(RAW)(volumes, chance.below(volumes.length), chance);
}

const place = (loose: Loose, chance: Chance): { members: Member[]; at: number } => {
  const members = chance.of(loose.volumes);
  return { members, at: chance.below(Math.max(1, members.length)) };
};

type Change = (loose: Loose, chance: Chance, world: FuzzWorld) => void | Promise<void>;

const STRUCTURE: readonly Change[] = [
  (loose, chance) => {
    const { members, at } = place(loose, chance);
    members.splice(at, 1);
  },
  (loose, chance) => {
    const [from, to] = [place(loose, chance), place(loose, chance)];
    const member = from.members[from.at];
    if (member !== undefined) to.members.splice(to.at, 0, { ...member });
  },
  (loose, chance) => {
    const [one, two] = [place(loose, chance), place(loose, chance)];
    const [a, b] = [one.members[one.at], two.members[two.at]];
    if (a === undefined || b === undefined) return;
    const what = chance.below(3);
    if (what === 0) [one.members[one.at], two.members[two.at]] = [b, a];
    else if (what === 1) [a.bytes, b.bytes] = [b.bytes, a.bytes];
    else [a.path, b.path] = [b.path, a.path];
  },
  (loose, chance) => {
    const { members, at } = place(loose, chance);
    const member = members[at];
    if (member === undefined || member.bytes.length === 0) return;
    member.bytes = Buffer.from(member.bytes);
    member.bytes[chance.below(member.bytes.length)] = chance.below(256);
  },
  (loose, chance) => {
    const { members, at } = place(loose, chance);
    const member = members[at];
    if (member === undefined) return;
    const { length } = member.bytes;
    member.bytes =
      chance.below(2) === 0
        ? member.bytes.subarray(0, chance.below(length + 1))
        : Buffer.concat([member.bytes, Buffer.alloc(1 + chance.below(600))]);
  },
  (loose, chance) => {
    const donor = chance.donor();
    const { members, at } = place(loose, chance);
    const given = chance.of(donor.volumes);
    if (given.length > 0) members.splice(at, chance.below(2), { ...chance.of(given) });
  },
  (loose, chance) => {
    const { members, at } = place(loose, chance);
    const other = chance.below(loose.volumes.length + 1);
    const moved = members.splice(at, 1 + chance.below(4));
    if (other === loose.volumes.length) loose.volumes.push(moved);
    else loose.volumes[other]?.push(...moved);
  },
  (loose, chance) => {
    const size = chance.of([0, 1, -1, 512, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 8 ** 11 - 1]);
    const [pick, relative] = [chance.below(1000), chance.below(2) === 0];
    loose.lies.push(({ items }) => {
      const item = Array.isArray(items) ? items[pick % Math.max(1, items.length)] : undefined;
      if (Array.isArray(item)) item[1] = relative && typeof item[1] === "number" ? item[1] + size : size;
    });
  },
  (loose) => void loose.lies.push((index) => void (Array.isArray(index["volumes"]) && index["volumes"].push(1))),
  (loose) => {
    loose.stranger = true;
  },
];

/** Changes one place in a tree of JSON. */
export function mutateJson(value: { [key: string]: Json }, chance: Chance): void {
  let holder: { [key: string]: Json } | Json[] = value;
  for (let depth = 0; depth < 6; depth += 1) {
    const inner: ({ [key: string]: Json } | Json[])[] = Object.values(holder).filter(
      (one) => typeof one === "object" && one !== null,
    );
    if (inner.length === 0 || chance.below(3) === 0) break;
    holder = chance.of(inner);
  }
  if (Array.isArray(holder)) mutateArray(holder, chance);
  else mutateObject(holder, chance);
}

function mutateArray(array: Json[], chance: Chance): void {
  const at = chance.below(array.length + 1);
  const what = chance.below(5);
  if (what === 0) array.splice(at, 1);
  else if (what === 1)
    array.splice(at, 0, structuredClone(array[chance.below(Math.max(1, array.length))] ?? chance.value()));
  else if (what === 2) array.reverse();
  else if (what === 3) array.splice(at, 0, chance.value());
  else if (at < array.length) array[at] = tweaked(array[at] as Json, chance);
}

function mutateObject(object: { [key: string]: Json }, chance: Chance): void {
  const keys = Object.keys(object);
  const key = keys.length === 0 ? "x" : chance.of(keys);
  const what = chance.below(8);
  if (what === 0) delete object[key];
  else if (what === 1) object["another"] = chance.value();
  else if (what === 2) object[key] = chance.value();
  else object[key] = tweaked(object[key] as Json, chance);
}

/** Something of the same kind. */
function tweaked(value: Json, chance: Chance): Json {
  if (typeof value === "number") return chance.of([value + 1, value - 1, -value, value * 2, 2 ** 53 - 1, 0.5, 0]);
  if (typeof value === "boolean") return !value;
  if (typeof value === "string") return /^[0-9a-f]{64}$/.test(value) ? chance.digest() : chance.text(value);
  if (Array.isArray(value)) return chance.below(2) === 0 ? [] : [...value, ...value];
  return chance.value();
}

/** Changes a document and everything that names it; signed once more by those who signed it, or not. */
const changeDocument: Change = async (loose, chance, world) => {
  const documents = loose.volumes
    .flat()
    .filter(({ path, bytes }) => path.startsWith("objects/") && bytes.length < 65_536);
  if (documents.length === 0) return;
  const member = chance.of(documents);
  const value = parsed(member.bytes);
  if (value === undefined) return;
  for (let left = chance.below(2); left >= 0; left -= 1) mutateJson(value, chance);
  readdress(loose, member, encoded(value));
  sortSets(loose);
  if (chance.below(3) === 0) return;
  loose.insider = true;
  await resign(loose, [...world.people, world.storeKey]);
};

/** Bytes of a file of a model, under their new name, as their publishers sign them. */
const changeBlob: Change = (loose, chance) => {
  const blobs = loose.volumes.flat().filter(({ path }) => path.startsWith("blobs/"));
  if (blobs.length === 0) return;
  const blob = chance.of(blobs);
  blob.bytes = Buffer.from(blob.bytes);
  blob.bytes[chance.near(blob.bytes.length)] = chance.below(256);
};

const changeIndex: Change = (loose, chance) => {
  if (chance.below(2) === 0) mutateJson(loose.index, chance);
  else loose.lies.push((index) => mutateJson(index, chance));
};

export async function mutateLoose(loose: Loose, chance: Chance, world: FuzzWorld): Promise<void> {
  const what = chance.below(10);
  if (what < 4) await chance.of(STRUCTURE)(loose, chance, world);
  else if (what < 6) await changeIndex(loose, chance, world);
  else if (what < 9) await changeDocument(loose, chance, world);
  else await changeBlob(loose, chance, world);
}
