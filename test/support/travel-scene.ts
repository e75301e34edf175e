// SPDX-License-Identifier: Apache-2.0
/**
 * Stores between which models travel, for the built CLI under a clock that stands still: so the same commands make the same
 * documents to the byte, and a run that was disturbed can be compared with one that was not. Layer: test support.
 * Not here: stores for tests in this process (team-stores.ts).
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fsck } from "../../src/repo/fsck.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { type Ended, type Running, startCli } from "./cli-process.ts";
import { BEGIN_S, type Contents, makeSafetensors, realPorts } from "./store-fixture.ts";
import { type Member, makeTeam, model } from "./team-stores.ts";

/** Two volumes and three chunks, as `--volume-size 16M` cuts it. */
const BIG_BYTES = 17 * 1024 * 1024;
const CUT = ["--volume-size", "16M"];

interface Ending {
  after(act: () => unknown): void;
}

/** A store with this machine's state of it, in a folder of their own. */
export class Stage {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  get store(): string {
    return join(this.folder, "my.coffer");
  }

  get home(): string {
    return join(this.folder, "home");
  }

  get stateHome(): string {
    return join(this.home, "state", "coffer");
  }

  copyTo(folder: string): Stage {
    cpSync(this.folder, folder, { recursive: true });
    return new Stage(folder);
  }

  start(args: readonly string[]): Running {
    return startCli([...args, "--store", this.store], { home: this.home, cwd: this.folder, clockS: BEGIN_S });
  }

  async must(args: readonly string[]): Promise<Ended> {
    const ended = await this.start(args).ended;
    assert.equal(ended.status, 0, `coffer ${args.join(" ")}: ${ended.stderr}`);
    return ended;
  }

  /** As somebody else would open it, without this machine's memory. */
  async open(): Promise<Store> {
    return openStore(
      { root: this.store, stateHome: this.stateHome, memory: false },
      realPorts(() => BEGIN_S),
    );
  }

  async problems(): Promise<readonly unknown[]> {
    return (await fsck(await this.open())).problems;
  }

  leftovers(): string[] {
    return readdirSync(join(this.store, "local", "tmp"));
  }
}

/** Every file below a folder, with the SHA-256 of its bytes. */
export function filesOf(folder: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile())
      found.set(relative(folder, path), createHash("sha256").update(readFileSync(path)).digest("hex"));
  }
  return found;
}

/** All that a store holds for others to see, but for how it came there, which a resumed act does in other entries. */
export interface Held {
  /** How many entries its log has. */
  readonly entries: number;
  /** Blobs, signatures, and objects but for nodes of the ref tree and the lists in them. */
  readonly content: ReadonlyMap<string, string>;
  /** What the head says, and what the views say. */
  readonly refs: ReadonlyMap<string, string>;
  readonly views: ReadonlyMap<string, string>;
}

const NODE = /"type":"coffer\/(refs|list)","version":1\}\n$/;

export async function heldBy(stage: Stage): Promise<Held> {
  const head = await (await stage.open()).head();
  const refs = new Map<string, string>();
  for await (const [ref, id] of head.listRefs()) refs.set(ref, id);
  const [content, views] = [new Map<string, string>(), new Map<string, string>()];
  for (const [path, hash] of filesOf(stage.store)) {
    const [top] = path.split("/");
    if (top === "refs") views.set(path, hash);
    else if (top === "objects" && NODE.test(readFileSync(join(stage.store, path), "latin1"))) continue;
    else if (top !== "local" && top !== "log") content.set(path, hash);
  }
  return { entries: head.number, content, refs, views };
}

/** Who sends and who receives, before and after the news, and what carries it. */
export interface Travel {
  readonly folder: string;
  /** Senders. */
  readonly early: Stage;
  readonly late: Stage;
  /** Receivers: one that has nothing, and one that took over what the early sender had. */
  readonly fresh: Stage;
  readonly based: Stage;
  /** What the early one sends, all volumes in one folder; what the late one sends besides, by the receipt. */
  readonly base: string;
  readonly news: string;
  /** All that the late one revoked, and nothing else. */
  readonly denials: string;
  readonly createBase: readonly string[];
  readonly createNews: readonly string[];
}

export function stageOf(folder: string, { location }: Member): Stage {
  const stage = new Stage(folder);
  cpSync(location.root, stage.store, { recursive: true });
  cpSync(location.stateHome, stage.stateHome, { recursive: true });
  return stage;
}

/** The big model; its second edition differs within one chunk. */
function big(edition: number): Contents {
  const bytes = makeSafetensors(BIG_BYTES);
  bytes.fill(edition, BIG_BYTES - 1000, BIG_BYTES - 500);
  return { "m.safetensors": bytes };
}

export async function makeTravel(ending: Ending): Promise<Travel> {
  const folder = mkdtempSync(join(tmpdir(), "coffer-travel-"));
  ending.after(() => rmSync(folder, { recursive: true, force: true }));
  const team = makeTeam(ending);
  const [sender, receiver] = [await team.store("sender"), await team.store("receiver")];
  await sender.trust("acme/big", big(1));
  await sender.trust("acme/both", { ...big(1), "config.json": Buffer.from('{"a": 1}\n') });
  for (const number of [1, 2, 3, 4, 5]) await sender.trust(`acme/small${number}`, model(number));
  for (const number of [4, 5]) await sender.revoke(`acme/small${number}`, "a test");
  const early = stageOf(join(folder, "early"), sender);
  const fresh = stageOf(join(folder, "fresh"), receiver);

  const base = join(folder, "base");
  mkdirSync(base);
  const createBase = ["bundle", "create", "acme/*@*", ...CUT, "--out"];
  await early.must([...createBase, base]);
  const based = fresh.copyTo(join(folder, "based"));
  await based.must(["bundle", "import", base]);
  const receipt = join(folder, "receiver.receipt");
  await based.must(["receipt", "create", receipt]);

  await sender.trust("acme/big", big(2));
  await sender.trust("acme/late", model(6));
  for (const number of [1, 2]) await sender.revoke(`acme/small${number}`, "a test");
  const late = stageOf(join(folder, "late"), sender);
  const news = join(folder, "news");
  mkdirSync(news);
  const createNews = ["bundle", "create", "acme/*@*", ...CUT, "--for", receipt, "--out"];
  await late.must([...createNews, news]);
  const denials = join(folder, "denials");
  mkdirSync(denials);
  await late.must(["bundle", "create", "--revocations", "--out", denials]);
  return { folder, early, late, fresh, based, base, news, denials, createBase, createNews };
}
