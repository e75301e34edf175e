// SPDX-License-Identifier: Apache-2.0
/** `npm run bench -- serve`: verdicts and bytes over HTTP on the loopback, beside nginx with files that say the same. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { linkSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { commandOf } from "./support/command.ts";
import { type Bench, type Contender, interleave, needPeer, ratioOf, timed } from "./support/harness.ts";
import { Scratch } from "./support/scratch.ts";

const MIB = 1024 * 1024;
const NGINX_PORT = 18_471;
const RESOLVE_PATH = "/v1/resolve/bench/m/main";

interface Server {
  readonly url: string;
  readonly process: ChildProcess;
}

async function startCoffer(scratch: Scratch): Promise<Server> {
  const args = [commandOf(), "--store", scratch.store, "serve", "--port", "0"];
  const child = spawn(process.execPath, args, { env: scratch.env, stdio: ["ignore", "pipe", "inherit"] });
  for await (const url of createInterface({ input: child.stdout })) return { url, process: child };
  throw new Error("coffer serve: expected an address, found the end of its output");
}

/** One worker, files from the page cache by sendfile, no log. */
async function startNginx(scratch: Scratch, root: string): Promise<Server> {
  const config = join(scratch.folder, "nginx.conf");
  writeFileSync(
    config,
    `daemon off; worker_processes 1; pid ${scratch.folder}/nginx.pid; error_log stderr crit; user root;
events { worker_connections 512; }
http { access_log off; sendfile on; default_type application/json; client_body_temp_path ${scratch.folder}/body;
proxy_temp_path ${scratch.folder}/proxy; fastcgi_temp_path ${scratch.folder}/fastcgi; uwsgi_temp_path ${scratch.folder}/uwsgi;
scgi_temp_path ${scratch.folder}/scgi; server { listen 127.0.0.1:${NGINX_PORT}; root ${root}; } }
`,
  );
  const child = spawn("nginx", ["-c", config], { stdio: ["ignore", "ignore", "inherit"] });
  const url = `http://127.0.0.1:${NGINX_PORT}`;
  for (let tries = 0; tries < 100; tries += 1) {
    if (child.exitCode !== null) throw new Error(`nginx ended with status ${child.exitCode}`);
    const answer = await fetch(url).catch(() => undefined);
    if (answer !== undefined) return { url, process: child };
    await setTimeout(50);
  }
  throw new Error("nginx: expected an answer, found none in 5 s");
}

async function stop({ process: child }: Server): Promise<void> {
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}

/** Milliseconds that 1,000 answers took. */
function answers(scratch: Scratch, url: string, seconds: number): Contender {
  return async () => {
    const told = scratch.run("wrk", "-t1", "-c16", `-d${seconds}s`, url);
    const perSecond = Number(/Requests\/sec: +([0-9.]+)/.exec(told)?.[1]);
    if (!(perSecond > 0) || /Non-2xx|Socket errors/.test(told)) throw new Error(`wrk ${url}: ${told}`);
    return 1_000_000 / perSecond;
  };
}

function download(scratch: Scratch, url: string): Contender {
  return () => timed(() => scratch.run("curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", url));
}

export const bench: Bench = {
  title: "Serving",
  about: `
\`coffer serve\` and nginx (one worker, sendfile), each with one client on the same machine. *verdict*: the time of 1,000
answers to \`${RESOLVE_PATH}\` by wrk with 16 connections; nginx sends a file of the same bytes. *blob*: one download of a
large file by curl; coffer hashes each 8 MiB before it sends it, nginx sends what is there.`,
  async run({ quick, rounds, say }) {
    const peers = [
      needPeer("nginx", "nginx-light", ["-v"]),
      needPeer("wrk", "wrk", ["-v"], 1),
      needPeer("curl", "curl"),
    ];
    const sizeMib = quick ? 64 : 256;
    const scratch = new Scratch();
    const servers: Server[] = [];
    try {
      const model = scratch.model("model.safetensors", sizeMib * MIB);
      scratch.coffer("--store", scratch.store, "add", model, "--name", "bench/m");
      scratch.coffer("--store", scratch.store, "promote", "bench/m");
      const coffer = await startCoffer(scratch);
      servers.push(coffer);
      const verdict = await (await fetch(coffer.url + RESOLVE_PATH)).text();
      const { files }: { files: { url: string }[] } = JSON.parse(verdict);
      const blob = files[0]?.url ?? "";
      const root = scratch.empty("www");
      mkdirSync(join(root, "v1/resolve/bench/m"), { recursive: true });
      writeFileSync(join(root, RESOLVE_PATH), verdict);
      linkSync(model, join(root, "blob"));
      const nginx = await startNginx(scratch, root);
      servers.push(nginx);
      say(`a verdict has ${verdict.length} bytes`);
      const seconds = quick ? 1 : 3;
      const contenders = {
        "coffer, verdict": answers(scratch, coffer.url + RESOLVE_PATH, seconds),
        "nginx, verdict": answers(scratch, nginx.url + RESOLVE_PATH, seconds),
        "coffer, blob": download(scratch, new URL(blob, coffer.url).href),
        "nginx, blob": download(scratch, `${nginx.url}/blob`),
      };
      const samples = await interleave(contenders, rounds);
      return {
        ratios: [
          ratioOf(samples, "coffer, verdict", "nginx, verdict"),
          ratioOf(samples, "coffer, blob", "nginx, blob"),
        ],
        notes: [`The blob has ${sizeMib} MiB, the verdict ${verdict.length} bytes.`],
        peers,
      };
    } finally {
      await Promise.allSettled(servers.map(stop));
      scratch.end();
    }
  },
};
