// SPDX-License-Identifier: Apache-2.0
/**
 * Golden transcripts of the CLI, run in-process through `main` with a fixed clock, seeded randomness and an empty home.
 * `$ coffer …` runs it; stdout stands as it is, stderr behind `! `, a non-zero status as `! exit N`.
 * `$ NAME …` of TOOLS below prepares files. UPDATE_GOLDEN=1 rewrites what commands printed.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  cpSync,
  createReadStream,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { writeTinyHfFolder } from "../../scripts/fixtures/tiny-hf-folder.mjs";
import { makePickle } from "../../scripts/fixtures/tiny-pickle.mjs";
import type { Io } from "../../src/cli/io.ts";
import { run } from "../../src/cli/run.ts";
import { encodePrivateKey, generatePrivateKey, parsePrivateKey } from "../../src/keys/private-key.ts";
import { tweetnaclSigner } from "../../src/keys/signer.ts";
import { type SignatureNamespace, signSshsig } from "../../src/keys/sshsig.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";

const START_S = Date.parse("2026-11-22T12:00:00Z") / 1000;

/** Bytes that look random and are the same in each run. */
export function seededRandom(seed: string): (length: number) => Uint8Array {
  let counter = 0;
  return (length) => {
    const parts: Buffer[] = [];
    for (let have = 0; have < length; have += 32) {
      parts.push(createHash("sha256").update(`${seed} ${counter}`).digest());
      counter += 1;
    }
    return new Uint8Array(Buffer.concat(parts).subarray(0, length));
  };
}

export interface World {
  readonly folder: string;
  nowS: number;
  readonly random: (length: number) => Uint8Array;
  /** Answers to questions; with any left, the run has a terminal. */
  readonly answers: string[];
  readonly env: Record<string, string>;
  cwd: string;
}

/** Files that a transcript needs; paths below the world's folder. */
const TOOLS: Readonly<Record<string, (world: World, args: readonly string[]) => void | Promise<void>>> = {
  gguf: (world, [path = "", seed = "1"]) => put(world, path, makeTinyGguf({ seed: Number(seed) })),
  hf: (world, [path = ""]) => {
    writeTinyHfFolder(join(world.folder, path), { seed: 1 });
  },
  pickle: (world, [path = ""]) => put(world, path, makePickle()),
  write: (world, [path = "", ...text]) => put(world, path, new TextEncoder().encode(`${text.join(" ")}\n`)),
  /** As `write`, with the public key of NAME for each "@NAME". */
  policy: (world, [path = "", ...text]) => {
    const keyOf = (name: string): string =>
      readFileSync(join(world.folder, "home/.config/coffer/keys", `${name}.pub`), "utf8")
        .split(" ", 2)
        .join(" ");
    const filled = text.join(" ").replace(/"@([a-z]+)"/g, (_all, name: string) => JSON.stringify(keyOf(name)));
    put(world, path, new TextEncoder().encode(`${filled}\n`));
  },
  /** A private key in the keys folder that opens with a passphrase, at one round: quick to open. */
  locked: (world, [name = "", ...passphrase]) => {
    const key = generatePrivateKey(world.random, name);
    const path = join("home/.config/coffer/keys", name);
    const secret = new TextEncoder().encode(passphrase.join(" "));
    put(world, path, new TextEncoder().encode(encodePrivateKey(key, world.random, secret, 1)));
    chmodSync(join(world.folder, path), 0o600);
    put(world, `${path}.pub`, new TextEncoder().encode(`${key.publicKey.text} ${name}\n`));
  },
  /** What `ssh-keygen -Y sign -n NAMESPACE -f KEY FILE` does with a key of the keys folder that is open. */
  sign: async (world, [path = "", namespace = "", name = ""]) => {
    const key = parsePrivateKey(readFileSync(join(world.folder, "home/.config/coffer/keys", name), "utf8"));
    const bytes = readFileSync(join(world.folder, path));
    const signature = await signSshsig(tweetnaclSigner(key), namespace as SignatureNamespace, bytes);
    put(world, `${path}.sig`, new TextEncoder().encode(signature));
  },
  chmod: (world, [mode = "", path = ""]) => chmodSync(join(world.folder, path), Number.parseInt(mode, 8)),
  copy: (world, [from = "", to = ""]) =>
    cpSync(join(world.folder, from), join(world.folder, to), { recursive: true, preserveTimestamps: true }),
  /** Another byte at that place: what a bad stick does. */
  flip: (world, [path = "", at = "0"]) => {
    const bytes = readFileSync(join(world.folder, path));
    bytes[Number(at)] = (bytes[Number(at)] ?? 0) ^ 1;
    put(world, path, bytes);
  },
  /** A folder of so many small files. */
  many: (world, [path = "", count = "1"]) => {
    for (let at = 0; at < Number(count); at += 1)
      put(world, `${path}/note-${at}.txt`, new TextEncoder().encode(`${at}\n`));
  },
  rm: (world, [path = ""]) => rmSync(join(world.folder, path), { recursive: true }),
  /** Days go by. What was written so far was written by this clock, whatever day it is where the test runs. */
  later: (world, [days = "1"]) => {
    for (const path of readdirSync(world.folder, { recursive: true, encoding: "utf8" }))
      lutimesSync(join(world.folder, path), world.nowS, world.nowS);
    world.nowS += Number(days) * 86_400;
  },
  answer: (world, words) => {
    world.answers.push(words.join(" "));
  },
  /** `env NAME=VALUE`, with the world's folder for $TMP; `env NAME=` as a script leaves it with an unset variable. */
  env: (world, [assignment = ""]) => {
    const [name = "", value = ""] = assignment.split("=", 2);
    world.env[name] = value.replaceAll("$TMP", world.folder);
  },
  /** From the world's folder, made if it is not there. */
  cd: (world, [path = "."]) => {
    world.cwd = join(world.folder, path);
    mkdirSync(world.cwd, { recursive: true });
  },
  link: (world, [target = "", path = ""]) => symlinkSync(target, join(world.folder, path)),
};

function put(world: World, path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(join(world.folder, path)), { recursive: true });
  writeFileSync(join(world.folder, path), bytes);
}

function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
}

/** A fresh folder with an empty home; gone when `use` is done. */
export async function inWorld(seed: string, use: (world: World) => Promise<void>): Promise<void> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "coffer-transcript-")));
  try {
    mkdirSync(join(folder, "home"));
    await use({
      ...{ folder, cwd: folder, env: { NO_COLOR: "1" } },
      ...{ nowS: START_S, random: seededRandom(seed), answers: [] },
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One of TOOLS, or `coffer` with what it printed. */
export async function runLine(world: World, line: string): Promise<Ran> {
  const [tool = "", ...args] = words(line);
  const [out, err]: [string[], string[]] = [[], []];
  let exit = 0;
  if (tool === "coffer") {
    exit = await runCommand(world, args, { out: (text) => void out.push(text), err: (text) => void err.push(text) });
  } else await (TOOLS[tool] ?? assert.fail(`no such tool: ${tool}`))(world, args);
  return { exit, out: out.join(""), err: err.join("") };
}

export interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

async function runCoffer(world: World, argv: readonly string[]): Promise<string> {
  let printed = "";
  const open = { out: true, err: true };
  const write = (text: string, prefix: string, key: "out" | "err"): void => {
    for (const part of text.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
      printed += (open[key] ? prefix : "") + part;
      open[key] = part.endsWith("\n");
    }
  };
  const exit = await runCommand(world, argv, {
    out: (text) => write(text, "", "out"),
    err: (text) => write(text, "! ", "err"),
  });
  const status = exit === 0 ? "" : `! exit ${exit}\n`;
  return (printed + status).replaceAll("\r", "").replaceAll(world.folder, "$TMP");
}

async function runCommand(world: World, argv: readonly string[], { out, err }: Pick<Io, "out" | "err">) {
  const io: Io = {
    ...{ out, err },
    env: world.env,
    cwd: world.cwd,
    home: join(world.folder, "home"),
    terminal: world.answers.length > 0,
    ask: async (question) => {
      err(`${question}\n`);
      return world.answers.shift() ?? "";
    },
    // What `coffer … --out -` printed is a file, and what `coffer … -` reads is one.
    outBytes: async (bytes) => appendFileSync(join(world.folder, "stdout"), bytes),
    input: () => createReadStream(join(world.folder, "stdin")),
    neverWait: async () => undefined,
    stopped: () => Promise.resolve("SIGTERM"),
    ports: {
      clock: () => world.nowS,
      random: world.random,
      sleep: () => Promise.resolve(),
      openFolder: openRealFiles,
    },
  };
  const exit = await run(argv, io);
  world.nowS += 1;
  return exit;
}

/** Runs the transcript in a fresh folder and compares. */
export function transcript(path: string): void {
  const name = path.split("/").at(-1) ?? path;
  test(`transcript: ${name}`, async () => {
    const expected = readFileSync(path, "utf8");
    await inWorld(name, async (world) => {
      let actual = "";
      for (const line of expected.split("\n")) {
        if (line.startsWith("#") || line === "") actual += actual.endsWith("\n\n") && line === "" ? "" : `${line}\n`;
        if (!line.startsWith("$ ")) continue;
        const [tool = "", ...args] = words(line.slice(2));
        actual += `${line}\n`;
        if (tool === "coffer") actual += await runCoffer(world, args);
        else await (TOOLS[tool] ?? assert.fail(`no such tool: ${tool}`))(world, args);
      }
      actual = `${actual.trimEnd()}\n`;
      if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(path, actual);
      else assert.equal(actual, expected);
    });
  });
}
