// SPDX-License-Identifier: Apache-2.0
/** `npm run bench -- transfer`: a large model from one store to another by a file, whole and changed, beside ostree and restic. */
import { createCipheriv } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { commandOf } from "./support/command.ts";
import { type Bench, type Contender, type Count, interleave, needPeer, ratioOf, timed } from "./support/harness.ts";
import { Scratch } from "./support/scratch.ts";

const MIB = 1024 * 1024;
const CHUNK = 8 * MIB;
const RANGES = 5;
/** Beside ostree and restic, which take a minute for each. */
const PEER_ROUNDS = 3;
const MOST_RESIDENT_MIB = 200;
const CREATE = "coffer bundle create";
const IMPORT = "coffer bundle import";
const FLOOR = "openssl dgst while cp, then sync -f";
const OSTREE = "ostree pull-local";
const RESTIC = "restic copy";

/** Writes what the process had resident at most, in KiB, behind what others wrote: `--import` of it changes nothing else. */
const TELL_RESIDENT = `data:text/javascript,${encodeURIComponent(
  `import { appendFileSync, readFileSync } from "node:fs";
process.on("exit", () => appendFileSync(process.env.BENCH_RESIDENT, /VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "latin1"))[1] + "\\n"));`,
)}`;

/** A safetensors file of bytes that follow from `seed`, written piece by piece. */
function writeModel(path: string, dataBytes: number, seed: number): void {
  const json = JSON.stringify({ weight: { dtype: "U8", shape: [dataBytes], data_offsets: [0, dataBytes] } });
  const header = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const stream = createCipheriv("aes-256-ctr", Buffer.alloc(32, seed), Buffer.alloc(16));
  const fd = fs.openSync(path, "wx");
  fs.writeSync(fd, Buffer.concat([length, header]));
  const zeros = Buffer.alloc(MIB);
  for (let at = 0; at < dataBytes; at += MIB) fs.writeSync(fd, stream.update(zeros.subarray(0, dataBytes - at)));
  fs.closeSync(fd);
}

/** Turns every bit of 1 MiB at `count` places, evenly apart, none at the edge of a chunk. */
function changeRanges(path: string, count: number): void {
  const fd = fs.openSync(path, "r+");
  const apart = Math.floor(fs.fstatSync(fd).size / count);
  const piece = Buffer.alloc(MIB);
  for (let at = 0; at < count; at += 1) {
    const place = at * apart + MIB + 12_345;
    fs.readSync(fd, piece, 0, MIB, place);
    fs.writeSync(
      fd,
      piece.map((byte) => byte ^ 0xff),
      0,
      MIB,
      place,
    );
  }
  fs.closeSync(fd);
}

/** The store of `Scratch`, receivers of the same root, and what the peers keep. */
class Site {
  readonly scratch = new Scratch();
  readonly #resident = join(this.scratch.folder, "resident");
  readonly #root: string;
  readonly models: string;

  constructor() {
    this.scratch.env["BENCH_RESIDENT"] = this.#resident;
    this.scratch.env["RESTIC_PASSWORD"] = "bench";
    this.scratch.env["RESTIC_FROM_PASSWORD"] = "bench";
    this.models = this.scratch.empty("models");
    this.ours("bundle", "create", "--revocations", "--out", "root.tar");
    const policy: { readonly policies: readonly string[] } = JSON.parse(
      this.scratch.run("tar", "-xOf", "root.tar", "bundle/index.json"),
    );
    this.#root = `1:${policy.policies[0]}`;
  }

  /** The command on our store, in a process whose memory is looked at. */
  ours(...args: readonly string[]): string {
    return this.on("my.coffer", ...args);
  }

  on(store: string, ...args: readonly string[]): string {
    const { scratch } = this;
    return scratch.run(process.execPath, "--import", TELL_RESIDENT, commandOf(), "--store", store, ...args);
  }

  /** A new store of the same root, in place of what was there. */
  receiver(folder: string): string {
    const { scratch } = this;
    fs.rmSync(join(scratch.folder, folder), { recursive: true, force: true });
    scratch.coffer("clone", "root.tar", folder, "--root", this.#root);
    return folder;
  }

  trust(path: string, name: string): void {
    this.ours("add", path, "--name", name);
    this.ours("promote", name);
  }

  /** Bytes of the bundle that brings `store` up to date with a name; it is imported. */
  delta(store: string, name: string): number {
    this.drop("back.receipt", "delta.tar");
    this.on(store, "receipt", "create", "back.receipt");
    this.ours("bundle", "create", name, "--for", "back.receipt", "--out", "delta.tar");
    this.on(store, "bundle", "import", "delta.tar");
    return this.sizeOf("delta.tar");
  }

  sizeOf(file: string): number {
    return fs.statSync(join(this.scratch.folder, file)).size;
  }

  drop(...paths: readonly string[]): void {
    for (const path of paths) fs.rmSync(join(this.scratch.folder, path), { recursive: true, force: true });
  }

  residentMib(): number {
    const kib = fs.readFileSync(this.#resident, "latin1").trim().split("\n").map(Number);
    return Math.ceil(Math.max(...kib) / 1024);
  }
}

/** Each brings the same model into a place that has nothing of it; what lies about from others is on disk before. */
function contendersOf(site: Site, model: string) {
  const { scratch } = site;
  const settled = (act: () => void, ...made: readonly string[]): Promise<number> => {
    scratch.run("sync", "-f", scratch.folder);
    const took = timed(act);
    return took.finally(() => site.drop(...made));
  };
  const ours: Record<string, Contender> = {
    [CREATE]: () => settled(() => site.ours("bundle", "create", "bench/large", "--out", "again.tar"), "again.tar"),
    [IMPORT]() {
      site.receiver("fresh.coffer");
      return settled(() => site.on("fresh.coffer", "bundle", "import", "large.tar"), "fresh.coffer");
    },
  };
  const floor: Record<string, Contender> = {
    [FLOOR]: () =>
      settled(() => {
        const script = 'openssl dgst -sha256 "$0" >/dev/null & cp "$0" copy && wait && sync -f copy';
        scratch.run("sh", "-c", script, model);
      }, "copy"),
  };
  const peers: Record<string, Contender> = {
    [OSTREE]() {
      scratch.run("ostree", "init", "--repo=to-ostree", "--mode=bare-user");
      const pull = ["pull-local", "--repo=to-ostree", "--untrusted", "from-ostree", "large"];
      return settled(() => scratch.run("ostree", ...pull), "to-ostree");
    },
    [RESTIC]() {
      scratch.run("restic", "-q", "-r", "to-restic", "init", "--from-repo", "from-restic", "--copy-chunker-params");
      const copy = ["-q", "-r", "to-restic", "--compression", "off", "copy", "--from-repo", "from-restic"];
      return settled(() => scratch.run("restic", ...copy), "to-restic");
    },
  };
  return { ours, floor, peers };
}

/** What the peers send from: the model, as each keeps it. */
function fillPeers({ scratch }: Site): void {
  scratch.run("ostree", "init", "--repo=from-ostree", "--mode=bare-user-only");
  scratch.run("ostree", "commit", "--repo=from-ostree", "--branch=large", "models");
  scratch.run("restic", "-q", "-r", "from-restic", "init");
  scratch.run("restic", "-q", "-r", "from-restic", "--compression", "off", "backup", "models");
}

const overBytes = (what: string, count: number, least: number): Count => ({
  ...{ what, count, atMost: Math.floor(least * 1.01) },
});

/** One of three shards is replaced. */
function replacedShard(site: Site, shardBytes: number): Count {
  const folder = site.scratch.empty("shards");
  const shard = (number: number): string => join(folder, `model-0000${number}-of-00003.safetensors`);
  for (const number of [1, 2, 3]) writeModel(shard(number), shardBytes, 10 + number);
  site.trust("shards", "bench/shards");
  site.ours("bundle", "create", "bench/shards", "--out", "shards.tar");
  const receiver = site.receiver("shards.coffer");
  site.on(receiver, "bundle", "import", "shards.tar");
  fs.rmSync(shard(2));
  writeModel(shard(2), shardBytes, 20);
  site.trust("shards", "bench/shards");
  const bytes = site.delta(receiver, "bench/shards");
  const size = fs.statSync(shard(2)).size;
  site.drop("shards", "shards.tar", "shards.coffer", "delta.tar");
  return overBytes(`bytes of a bundle for one new shard of ${size}`, bytes, size);
}

/** Some ranges of the large file change, in place. */
function changedRanges(site: Site, model: string): Count[] {
  const { scratch } = site;
  const receiver = site.receiver("ranges.coffer");
  site.on(receiver, "bundle", "import", "large.tar");
  changeRanges(model, RANGES);
  site.trust(model, "bench/large");
  const bytes = site.delta(receiver, "bench/large");
  scratch.run("ostree", "commit", "--repo=from-ostree", "--branch=large", "models");
  scratch.run(
    "ostree",
    "static-delta",
    "generate",
    "--repo=from-ostree",
    "--inline",
    "--filename=delta.ostree",
    "large",
  );
  const what = `${RANGES} changed ranges of 1 MiB`;
  return [
    overBytes(`bytes of a bundle for ${what}`, bytes, RANGES * MIB + 2 * RANGES * CHUNK),
    { what: `bytes of ostree's static delta for ${what}`, count: site.sizeOf("delta.ostree") },
  ];
}

export const bench: Bench = {
  title: "Carrying a large model to another store",
  about: `
One safetensors file, in the page cache where it fits; all on one disk, which is made quiet before each. \`coffer bundle create\`
reads and checks it and writes a durable volume; \`coffer bundle import\` reads that, checks it, inspects the model, and makes
it durable in a store of the same policy root that has nothing of it. Both are whole processes. The floor hashes the file
while it is copied, and makes the copy durable. \`ostree pull-local\` goes from a \`bare-user-only\` to a \`bare-user\`
repository, so that it copies, with its checksums checked; \`restic copy\` goes between two repositories, without
compression. Then what travels when something has changed: a new shard of three, and ranges in the middle of the large file.`,
  async run({ quick, rounds, say }) {
    const versions = [
      needPeer("openssl", "openssl", ["version"]),
      needPeer("ostree", "ostree"),
      needPeer("restic", "restic", ["version"]),
    ];
    const site = new Site();
    try {
      const model = join(site.models, "model.safetensors");
      const modelBytes = (quick ? 128 : 2048) * MIB;
      writeModel(model, modelBytes, 1);
      site.trust(model, "bench/large");
      site.ours("bundle", "create", "bench/large", "--out", "large.tar");
      fillPeers(site);
      const { ours, floor, peers } = contendersOf(site, model);
      say(`${rounds} rounds of ${modelBytes / MIB} MiB`);
      const gated = await interleave({ ...ours, ...floor }, rounds);
      say(`${PEER_ROUNDS} rounds beside ostree and restic`);
      const samples = await interleave({ ...ours, ...peers }, PEER_ROUNDS);
      say("what has changed");
      const counts = [replacedShard(site, (quick ? 16 : 200) * MIB), ...changedRanges(site, model)];
      const resident = { what: "MiB resident at most, of any coffer process", count: site.residentMib() };
      return {
        ratios: [
          ...[CREATE, IMPORT].map((of) => ratioOf(gated, of, FLOOR, { atMost: 1.5 })),
          ...[CREATE, IMPORT].flatMap((of) => [OSTREE, RESTIC].map((to) => ratioOf(samples, of, to))),
        ],
        counts: [...counts, { ...resident, atMost: MOST_RESIDENT_MIB }],
        notes: [
          `The file has ${modelBytes / MIB} MiB; the peers have ${PEER_ROUNDS} rounds of their own, since each takes most of a minute.`,
        ],
        peers: versions,
      };
    } finally {
      site.scratch.end();
    }
  },
};
