// SPDX-License-Identifier: Apache-2.0
/**
 * Processes for the slow tests: the built CLI as a user has it, and worker scripts run from source. Each gets a home of
 * its own, so that nothing of the machine's keys and stores is seen. Not here: in-process runs (transcripts.ts).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, watch } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const TSX = pathToFileURL(join(ROOT, "node_modules", "tsx", "dist", "loader.mjs")).href;

/** The built command; `COFFER_TEST_CLI` names another build of it. */
export function builtCli(): string {
  const path = process.env["COFFER_TEST_CLI"] ?? join(ROOT, "dist", "cli", "coffer.cjs");
  if (!existsSync(path)) throw new Error(`the CLI is not built: expected ${path}; run \`npm run build\``);
  return path;
}

export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
  /** Most memory that was resident at once, in KiB (VmHWM of proc(5)); undefined where /proc is absent. */
  readonly peakKib: number | undefined;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

interface Where {
  /** A folder with the home, the keys and the state of the process. */
  readonly home: string;
  readonly cwd?: string;
  /** Look at the peak so often, in ms; it is a maximum, so only what comes after the last look is missed. */
  readonly watchEveryMs?: number;
  /** Where the clock of the process stands still, in seconds; it goes when left out. */
  readonly clockS?: number;
  /** The descriptor that stderr is, instead of a pipe whose text `ended` gives. */
  readonly stderrFd?: number;
}

/** Starts `coffer …args`. */
export function startCli(args: readonly string[], where: Where): Running {
  const { clockS } = where;
  const clock = clockS === undefined ? [] : ["--import", `data:text/javascript,Date.now=()=>${clockS * 1000}`];
  return start([...clock, builtCli(), ...args], where);
}

/** Runs `coffer …args` to its end, whatever that is. */
export function runCli(args: readonly string[], where: Where): Promise<Ended> {
  return startCli(args, where).ended;
}

/** Starts a script of test/support from source; `config` reaches it as JSON in its first argument. */
export function startWorker(script: string, config: object, where: Where): Running {
  return start(["--import", TSX, join(ROOT, "test", "support", script), JSON.stringify(config)], where);
}

function start(args: readonly string[], { home, cwd, watchEveryMs, stderrFd }: Where): Running {
  mkdirSync(home, { recursive: true });
  const env = { PATH: process.env["PATH"], HOME: home, XDG_STATE_HOME: join(home, "state"), NO_COLOR: "1" };
  const began = performance.now();
  const child = spawn(process.execPath, args, { cwd: cwd ?? home, env, stdio: ["ignore", "pipe", stderrFd ?? "pipe"] });
  const stdout = textOf(child.stdout);
  const stderr = textOf(child.stderr);
  let peakKib: number | undefined;
  const look = (): void => {
    peakKib = peakOf(child.pid) ?? peakKib;
  };
  const watch = watchEveryMs === undefined ? undefined : setInterval(look, watchEveryMs);
  const ended = new Promise<Ended>((settle, fail) => {
    child.once("error", fail);
    child.once("close", (status, signal) => {
      clearInterval(watch);
      settle({ status, signal, stdout: stdout(), stderr: stderr(), ms: performance.now() - began, peakKib });
    });
  });
  return { child, ended };
}

/** When something was first written in `folder`, or the process ended without; by performance.now(). */
export async function firstWrite({ ended }: Running, folder: string): Promise<number> {
  const watcher = watch(folder);
  try {
    await Promise.race([new Promise((settle) => watcher.once("change", settle)), ended]);
    return performance.now();
  } finally {
    watcher.close();
  }
}

function textOf(stream: NodeJS.ReadableStream | null): () => string {
  const pieces: Buffer[] = [];
  stream?.on("data", (piece: Buffer) => pieces.push(piece));
  return () => Buffer.concat(pieces).toString("utf8");
}

/** undefined once the process is gone, and on systems without /proc. */
function peakOf(pid: number | undefined): number | undefined {
  try {
    const kib = /^VmHWM:\s+([0-9]+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kib === undefined ? undefined : Number(kib);
  } catch {
    return undefined;
  }
}

/** Resolves once `child` has printed `pattern` on `stream`, with the match. Rejects when it ends without. */
export function printed(
  { child, ended }: Running,
  stream: "stdout" | "stderr",
  pattern: RegExp,
): Promise<RegExpExecArray> {
  return new Promise((settle, fail) => {
    let text = "";
    child[stream]?.on("data", (piece: Buffer) => {
      text += piece.toString("utf8");
      const match = pattern.exec(text);
      if (match !== null) settle(match);
    });
    ended.then(
      ({ status, stderr }) => fail(new Error(`ended with ${status} before it printed ${pattern}: ${stderr}`)),
      fail,
    );
  });
}
