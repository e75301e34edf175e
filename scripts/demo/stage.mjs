// SPDX-License-Identifier: Apache-2.0
/**
 * Where the demo happens: a folder of its own with its own home, commands that are shown as a user would type them and
 * then really run, and claims that end the demo when they do not hold. Node alone, no packages.
 */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, realpathSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { cleanEnvironment, ROOT } from "../lib.mjs";

const MAIN = join(ROOT, "dist", "cli", "coffer.cjs");
/** How long a server may take to say that it listens. */
const SERVER_START_MS = 120_000;

/** A claim of the demo that did not hold. */
export class Broken extends Error {
  name = "Broken";
}

/** An argument as a shell needs it. */
function quote(text) {
  return /^[A-Za-z0-9_@%+=:,./-]+$/u.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

export const commandLine = (words) => words.map(quote).join(" ");

export class Stage {
  /** The step that runs, for the message when it fails. */
  step = "before the first step";
  /** What could not be shown on this machine, and why. */
  notShown = [];
  #count = 0;
  #children = new Set();
  /** True once everything was told to end: what fails after that fails for that reason. */
  stopped = false;

  constructor() {
    this.folder = realpathSync(mkdtempSync(join(tmpdir(), "coffer-demo-")));
    this.home = join(this.folder, "home");
    mkdirSync(this.home);
    const inherited = Object.entries(cleanEnvironment()).filter(
      ([name]) => !/^(XDG_|NODE_OPTIONS$|CREDENTIALS_DIRECTORY$|STATE_DIRECTORY$|npm_)/u.test(name),
    );
    this.env = { ...Object.fromEntries(inherited), HOME: this.home, USERPROFILE: this.home };
  }

  path(...parts) {
    return join(this.folder, ...parts);
  }

  print(text = "") {
    process.stdout.write(`${text}\n`);
  }

  begin(title) {
    this.#count += 1;
    this.step = `step ${this.#count}, ${title}`;
    this.print(`\n== ${this.#count}. ${title}`);
  }

  /** A sentence before a command. */
  say(text) {
    this.print(`\n${text}`);
  }

  /** A variable that holds from here on, as a user would set it. */
  export(name, value) {
    this.print(`$ export ${name}=${quote(value)}`);
    this.env[name] = value;
  }

  /** @throws Broken */
  check(holds, claim) {
    if (!holds) throw new Broken(claim);
  }

  /** Is there such a program on this machine? */
  has(program) {
    const folders = (process.env.PATH ?? "").split(delimiter);
    const names = process.platform === "win32" ? [`${program}.exe`] : [program];
    return folders.some((folder) => names.some((name) => isFile(join(folder, name))));
  }

  skip(what, why) {
    this.print(`NOT SHOWN: ${what}: ${why}.`);
    this.notShown.push(`${what}: ${why}`);
  }

  /** `coffer …`, the built command line in a process of its own. */
  coffer(args, expected = {}) {
    return this.run(["coffer", ...args], expected);
  }

  /**
   * Shows a command, runs it in the demo's folder, shows what it prints, and compares.
   *
   * @param words - program and arguments; `coffer` and `node` are ours
   * @param expected - `exit` (0 if left out), `says`: texts that the output must hold; `input`: a file for its stdin;
   *   `shown`: how to show it, if not as the words; `lines`: how many lines of the output to show
   * @returns what it printed, stdout and stderr in their order
   * @throws Broken
   */
  async run(words, { exit = 0, says = [], input, shown, lines = Number.POSITIVE_INFINITY } = {}) {
    const redirect = input === undefined ? "" : ` < ${quote(input)}`;
    this.print(`$ ${shown ?? commandLine(words) + redirect}`);
    const { status, output } = await this.quiet(words, input);
    if (this.stopped) throw new Broken("the demo was told to end");
    this.#show(output, lines);
    if (status !== 0) this.print(`(exit ${status})`);
    this.check(status === exit, `expected exit ${exit}, found ${status}: ${commandLine(words)}`);
    for (const text of says) this.check(output.includes(text), `expected the output to say ${JSON.stringify(text)}`);
    return output;
  }

  #show(output, limit) {
    const all = output.trimEnd().split("\n");
    if (output === "") return;
    for (const line of all.slice(0, limit)) this.print(line);
    if (all.length > limit) this.print(`… and ${all.length - limit} more lines`);
  }

  /** Runs without showing. Both streams go to one file, so that their lines stand in the order of writing. */
  async quiet(words, input) {
    const sink = this.path("home", "output");
    const out = openSync(sink, "w");
    const from = input === undefined ? "ignore" : openSync(this.path(input), "r");
    try {
      const status = await this.#ended(this.#spawn(words, [from, out, out]));
      return { status, output: readFileSync(sink, "utf8") };
    } finally {
      closeSync(out);
      if (from !== "ignore") closeSync(from);
    }
  }

  #spawn([program, ...args], stdio) {
    if (this.stopped) throw new Broken("the demo was told to end");
    const own = { coffer: [process.execPath, MAIN], node: [process.execPath] }[program] ?? [program];
    const [file, ...first] = own;
    const child = spawn(file, [...first, ...args], { cwd: this.folder, env: this.env, stdio });
    this.#children.add(child);
    child.once("close", () => this.#children.delete(child));
    return child;
  }

  #ended(child) {
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve(code ?? signal));
    });
  }

  /** `coffer serve` on a free port, beside the demo. @returns its address @throws Broken when it does not start */
  async serve() {
    const words = ["coffer", "serve", "--port", "0"];
    this.print(`$ ${commandLine(words)} &`);
    const child = this.#spawn(words, ["ignore", "pipe", "pipe"]);
    const ended = this.#ended(child);
    let output = "";
    const address = await new Promise((resolve) => {
      const wait = setTimeout(resolve, SERVER_START_MS);
      const look = (bytes) => {
        output += bytes;
        const found = /^(http:\/\/\S+)\n/mu.exec(output)?.[1];
        if (found === undefined) return;
        clearTimeout(wait);
        resolve(found);
      };
      child.stdout.on("data", look);
      child.stderr.on("data", look);
      ended.then(resolve.bind(undefined, undefined), () => resolve(undefined)).finally(() => clearTimeout(wait));
    });
    this.#show(output, Number.POSITIVE_INFINITY);
    this.check(address !== undefined, "the server did not say where it listens");
    this.server = { child, ended, address };
    return address;
  }

  async stopServer() {
    const { child, ended } = this.server;
    this.print("$ kill %1");
    child.kill("SIGTERM");
    const status = await ended;
    this.check(status === 0 || status === 143, `expected the server to end in peace, found exit ${status}`);
  }

  /** Ends whatever runs, and takes the folder away unless it is to be kept. May be called twice. */
  async end({ keep }) {
    this.stopped = true;
    const left = [...this.#children];
    for (const child of left) child.kill("SIGKILL");
    await Promise.all(left.map((child) => new Promise((resolve) => child.once("close", resolve))));
    if (!keep) rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

function isFile(path) {
  try {
    return statSync(path).isFile();
  } catch {
    // Absent, or a folder that may not be read: not a program that could be started.
    return false;
  }
}
