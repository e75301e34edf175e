// SPDX-License-Identifier: Apache-2.0
/** The ways on which test/slow/kills-travel.test.ts sends models and takes them over: commands, and what lies on the media. Layer: test support. */
import assert from "node:assert/strict";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Stage, Travel } from "./travel-scene.ts";

/** A share of one, by the seed. */
export type Share = () => number;

/** One way to send or to take over, in a folder of its own. */
export interface Journey {
  readonly name: string;
  /** Where it begins; what only reads a store is run in it, all else on a copy. */
  readonly from: Stage;
  readonly reads?: true;
  /** Runs that cannot end well, in order: what is still to come is missing or damaged. */
  readonly before?: (folder: string, share: Share) => readonly (readonly string[])[];
  /** The one that does; it is the same for all of one kind. */
  readonly last: (folder: string) => readonly string[];
  readonly kind: string;
  /** What it tells is damage, for some of it stays; all else must have come. */
  readonly fails?: true;
  /** Each run of it that comes to its end has brought all that the late sender revoked, whatever else it met. */
  readonly denies?: true;
}

/** The volumes on two media: every second one lies on the other. */
function spread(volumes: string, folder: string): { readonly first: string; readonly other: string } {
  const media = { first: join(folder, "first"), other: join(folder, "other") };
  for (const place of Object.values(media)) mkdirSync(place, { recursive: true });
  for (const [at, name] of readdirSync(volumes).sort().entries())
    copyFileSync(join(volumes, name), join(at % 2 === 0 ? media.first : media.other, name));
  return media;
}

/** One volume of those in `folder` ends too early. */
function cutShort(folder: string, share: Share): void {
  const names = readdirSync(folder);
  const name = names[Math.floor(share() * names.length)] ?? "";
  assert.notEqual(name, "");
  cutFile(join(folder, name), share);
}

function cutFile(path: string, share: Share): void {
  truncateSync(path, Math.floor(share() * statSync(path).size));
}

export function journeysOf({
  early,
  late,
  fresh,
  based,
  base,
  news,
  createBase,
  createNews,
}: Travel): readonly Journey[] {
  const both = (folder: string): string[] => {
    const { first, other } = spread(base, folder);
    return ["bundle", "import", first, other];
  };
  const makes = { from: early, reads: true, kind: "create" } as const;
  const takes = { from: fresh, kind: "import", last: both } as const;
  return [
    { ...makes, name: "bundle create", last: (folder) => [...createBase, join(folder, "out")] },
    { ...takes, name: "bundle import" },
    {
      ...{ ...makes, from: late, kind: "create by receipt" },
      name: "bundle create --for",
      last: (folder) => [...createNews, join(folder, "out")],
    },
    {
      ...takes,
      name: "bundle import, a volume cut short before",
      before: (folder, share) => {
        const media = spread(base, join(folder, "short"));
        cutShort(share() < 0.5 ? media.first : media.other, share);
        return [["bundle", "import", media.first, media.other]];
      },
    },
    { name: "pull", kind: "pull", from: fresh, last: () => ["pull", early.store] },
    {
      ...takes,
      name: "bundle import, half of the volumes before",
      before: (folder) => [["bundle", "import", spread(base, folder).first]],
    },
    {
      name: "bundle import by receipt",
      kind: "import by receipt",
      from: based,
      last: () => ["bundle", "import", news],
    },
    { name: "pull of what is new", kind: "pull of what is new", from: based, last: () => ["pull", late.store] },
  ];
}

/** What lies on the media of one who was sent several bundles: the base, what is revoked since, and perhaps the news. */
function stickOf(bundles: readonly string[], folder: string): { readonly first: string; readonly other: string } {
  const media = { first: join(folder, "first"), other: join(folder, "other") };
  for (const bundle of bundles) spread(bundle, folder);
  return media;
}

/** Where on the media of `folder` a volume lies. */
function onMedia(name: string, folder: string): string {
  const paths = ["first", "other"].map((medium) => join(folder, medium, name));
  return paths.find((path) => existsSync(path)) ?? assert.fail(name);
}

/** One byte of the last volume of a bundle is another one. */
function damage(bundle: string, folder: string): void {
  const path = onMedia(readdirSync(bundle).sort().at(-1) ?? "", folder);
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
  writeFileSync(path, bytes);
}

/** A volume of one bundle is damaged or cut short on media that are named; then others are used, where it is not. */
function damagedBefore(bundle: string, bundles: readonly string[]): NonNullable<Journey["before"]> {
  return (folder, share) => {
    const bad = join(folder, "bad");
    const { first, other } = stickOf(bundles, bad);
    const names = readdirSync(bundle).sort();
    if (share() < 0.5) damage(bundle, bad);
    else cutFile(onMedia(names[Math.floor(share() * names.length)] ?? "", bad), share);
    return [["bundle", "import", first, other]];
  };
}

/** Several bundles at once, from media that people carry. */
export function sticksOf({ fresh, base, denials, news }: Travel): readonly Journey[] {
  const both = (bundles: readonly string[]) => (folder: string) => {
    const { first, other } = stickOf(bundles, folder);
    return ["bundle", "import", first, other];
  };
  const takes = { from: fresh, denies: true } as const;
  const [two, three] = [
    [base, denials],
    [base, denials, news],
  ];
  return [
    { ...takes, name: "import of two bundles", kind: "two", last: both(two) },
    {
      ...takes,
      name: "import of three bundles, two of them in volumes on two media",
      kind: "three",
      last: both(three),
    },
    {
      ...{ ...takes, name: "pull from a stick with two bundles", kind: "pull of two" },
      last: (folder) => {
        const stick = join(folder, "stick");
        for (const bundle of two) cpSync(bundle, stick, { recursive: true });
        return ["pull", stick];
      },
    },
    {
      ...{ ...takes, name: "import of three bundles, the oldest damaged before", kind: "three, the oldest damaged" },
      before: damagedBefore(base, three),
      last: both(three),
    },
    {
      ...{ ...takes, name: "import of three bundles, the newest damaged before", kind: "three, the newest damaged" },
      before: damagedBefore(news, three),
      last: both(three),
    },
    {
      ...{
        ...takes,
        name: "import of three bundles, the oldest damaged for good",
        kind: "the oldest damaged for good",
      },
      fails: true,
      last: (folder) => {
        const args = both(three)(folder);
        damage(base, folder);
        return args;
      },
    },
  ];
}
