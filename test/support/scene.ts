// SPDX-License-Identifier: Apache-2.0
/**
 * A store as its users have it, for the acceptance tests: one person with a key, commands by their command line, HTTP by
 * a server over the same store. Everything in one folder that goes with the test; the clock is the scene's own.
 * Not here: more than one person (store-fixture.ts), the built command as a process (cli-process.ts).
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import type { ErrorCode } from "../../src/base/errors.ts";
import type { Io } from "../../src/cli/io.ts";
import { run } from "../../src/cli/run.ts";
import type { Files } from "../../src/objects/files.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { createServer, type ServerOptions } from "../../src/server/server.ts";
import { fastFolder } from "./store-fixture.ts";
import { seededRandom } from "./transcripts.ts";

interface Ending {
  after(act: () => unknown): void;
}

interface Said {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

interface Got {
  readonly status: number;
  readonly text: string;
  readonly code: string | undefined;
}

const SMALL = { layers: 1, embedding: 32, feedForward: 32 };

/** A small real model; another seed, other bytes. */
export const model = (seed = 1): Uint8Array => makeTinyGguf({ ...SMALL, seed });

/** `target` with some of its calls replaced; the others are its own. */
export function instead<T extends object>(target: T, own: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      const value: unknown = Reflect.get(name in own ? own : target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

export class Scene {
  readonly folder: string = mkdtempSync(join(fastFolder(), "coffer-scene-"));
  readonly #ending: Ending;
  readonly #random = seededRandom("scene");
  nowS: number = Date.parse("2026-11-22T12:00:00Z") / 1000;
  /** Stands between the commands and the disk where a test wants to look or to disturb. */
  openFolder: (root: string) => Files = openRealFiles;

  constructor(ending: Ending) {
    this.#ending = ending;
    ending.after(() => rmSync(this.folder, { recursive: true, force: true }));
    mkdirSync(this.at("home"));
  }

  at(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  /** The path of a file with these bytes. */
  put(path: string, bytes: Uint8Array | string): string {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    writeFileSync(this.at(path), bytes);
    return path;
  }

  read(path: string): string {
    return readFileSync(this.at(path), "utf8");
  }

  /** Files of the store as `ls` would name them, sorted. */
  files(below = "my.coffer"): string[] {
    const entries = readdirSync(this.at(below), { recursive: true, withFileTypes: true });
    return entries.flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : [])).sort();
  }

  async coffer(...argv: string[]): Promise<Said> {
    const said = { out: "", err: "" };
    const io: Io = {
      out: (text) => {
        said.out += text;
      },
      err: (text) => {
        said.err += text;
      },
      env: { NO_COLOR: "1", COFFER_STORE: this.at("my.coffer") },
      cwd: this.folder,
      home: this.at("home"),
      terminal: false,
      ask: () => Promise.reject(new Error("asked")),
      outBytes: () => Promise.resolve(),
      input: () => assert.fail("no input here"),
      neverWait: async () => undefined,
      stopped: () => Promise.resolve("SIGTERM"),
      ports: {
        clock: () => this.nowS,
        random: this.#random,
        sleep: () => Promise.resolve(),
        openFolder: (root) => this.openFolder(root),
      },
    };
    const status = await run(argv, io);
    this.nowS += 1;
    return { status, ...said };
  }

  /** @returns what it printed on stdout */
  async must(...argv: string[]): Promise<string> {
    const { status, out, err } = await this.coffer(...argv);
    assert.equal(status, 0, `coffer ${argv.join(" ")}: ${err}`);
    return out.trim();
  }

  /** It fails with this code, prints nothing on stdout, and no status of success. @returns what it said */
  async refused(code: ErrorCode, ...argv: string[]): Promise<Said> {
    const said = await this.coffer(...argv);
    assert.match(said.err, new RegExp(`\\[${code}\\]`), `coffer ${argv.join(" ")}: ${said.out}${said.err}`);
    assert.equal(said.out, "");
    assert.notEqual(said.status, 0);
    return said;
  }

  /** How many files of the store are opened while `act` runs; `about` picks those below a folder. */
  async opened(act: () => Promise<unknown>, about = ""): Promise<number> {
    const plain = this.openFolder;
    let count = 0;
    const tell = (path: string): void => {
      if (path.startsWith(about)) count += 1;
    };
    this.openFolder = (root) => {
      const files = plain(root);
      const open: typeof files.open = (path) => {
        tell(path);
        return files.open(path);
      };
      const read: typeof files.read = (path, limit) => {
        tell(path);
        return files.read(path, limit);
      };
      return instead(files, { open, read });
    };
    try {
      await act();
      return count;
    } finally {
      this.openFolder = plain;
    }
  }

  async init(...more: string[]): Promise<this> {
    await this.must("key", "new", "alice", "--no-passphrase");
    await this.must("init", "my.coffer", ...(more.length > 0 ? more : ["--me", "alice"]));
    return this;
  }

  /** The name is quarantined with a model of its own. @returns its manifest */
  async add(name: string, bytes: Uint8Array = model()): Promise<string> {
    return this.must("add", this.put("model.gguf", bytes), "--name", name);
  }

  async trust(name: string, bytes: Uint8Array = model()): Promise<string> {
    const manifest = await this.add(name, bytes);
    await this.must("promote", name);
    return manifest;
  }

  revoke(name: string): Promise<string> {
    return this.must("revoke", name, "--reason", "withdrawn", "--yes");
  }

  /** Number of the newest log entry. */
  async head(): Promise<number> {
    return JSON.parse(await this.must("list", "--json")).store.log.number;
  }

  async states(): Promise<Record<string, string>> {
    const { names } = JSON.parse(await this.must("list", "--json"));
    return Object.fromEntries(names.map(({ name, state }: { name: string; state: string }) => [name, state]));
  }

  /** The store as another program has it open; `coffer.json` must be there. */
  open(): Promise<Store> {
    const location = { root: this.at("my.coffer"), stateHome: this.at("home/.local/state/coffer"), memory: true };
    const ports = { clock: () => this.nowS, random: this.#random, sleep: () => Promise.resolve() };
    return openStore(location, { ...ports, openFolder: (root) => this.openFolder(root) });
  }

  async serve(options: ServerOptions = {}) {
    const server = createServer(await this.open(), options);
    const { port } = await server.listen(0);
    this.#ending.after(() => server.close(0));
    const ask = async (method: string, path: string): Promise<Got> => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method });
      const text = await answer.text();
      const code = text.startsWith('{"error"') ? JSON.parse(text).error.code : undefined;
      return { status: answer.status, text, code };
    };
    return { port, ask, get: (path: string) => ask("GET", path) };
  }
}
