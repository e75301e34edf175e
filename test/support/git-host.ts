// SPDX-License-Identifier: Apache-2.0
/**
 * A git host on 127.0.0.1: stock `git http-backend` behind a small CGI bridge, over bare repositories in a folder.
 * Layer: test support.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Ending {
  after(act: () => unknown): void;
}

export interface TestGitHost {
  /** Of the folder of repositories; `${url}/models.git` is one. */
  readonly url: string;
  readonly folder: string;
  /** Answers in place of git's, by what method, path and command (`ls-refs`, `fetch`) begin with. */
  readonly instead: Map<string, (request: IncomingMessage, response: ServerResponse) => void>;
  /** Stock git on a repository of the host. */
  git(repository: string, ...args: string[]): string;
  /** `user:password` that the host wants; undefined: nobody is asked. */
  wants: string | undefined;
}

const NOBODY = { GIT_CONFIG_NOSYSTEM: "1", GIT_CONFIG_GLOBAL: "/dev/null", LC_ALL: "C" };

/** For stock git: nobody's settings, and nothing of a repository in whose hook the tests may run. */
export function gitEnvironment(): NodeJS.ProcessEnv {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith("GIT_"));
  return { ...Object.fromEntries(others), ...NOBODY };
}

export function stockGit(args: readonly string[], input = ""): string {
  const run = spawnSync("git", args, { encoding: "utf8", env: gitEnvironment(), input });
  if (run.status !== 0) throw new Error(`git ${args.join(" ")}: ${run.error?.message ?? run.stderr}`);
  return run.stdout.trim();
}

/** @param repositories - made, bare and empty, and open to pushes */
export async function startGitHost(ending: Ending, repositories: readonly string[]): Promise<TestGitHost> {
  const folder = mkdtempSync(join(tmpdir(), "coffer-git-host-"));
  for (const name of repositories) {
    stockGit(["init", "--quiet", "--bare", join(folder, name)]);
    stockGit(["-C", join(folder, name), "config", "http.receivepack", "true"]);
  }
  const host = { wants: undefined as string | undefined, instead: new Map() as TestGitHost["instead"] };
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      const [, command = ""] = /command=([a-z-]+)/.exec(body.toString("latin1", 0, 100)) ?? [];
      const line = `${request.method} ${request.url} ${command}`;
      for (const [begin, answer] of host.instead) if (line.startsWith(begin)) return answer(request, response);
      const wanted = host.wants === undefined ? undefined : `Basic ${Buffer.from(host.wants).toString("base64")}`;
      if (wanted === undefined || request.headers.authorization === wanted)
        return bridge(folder, request, body, response);
      return void response.writeHead(401, { "www-authenticate": 'Basic realm="test"' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ending.after(() => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true, force: true });
  });
  const { port } = server.address() as AddressInfo;
  return Object.assign(host, {
    ...{ url: `http://127.0.0.1:${port}`, folder },
    git: (repository: string, ...args: string[]) => stockGit(["-C", join(folder, repository), ...args]),
  });
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** RFC 3875, as far as `git http-backend` asks. */
function bridge(folder: string, request: IncomingMessage, body: Buffer, response: ServerResponse): void {
  const url = new URL(request.url ?? "/", "http://127.0.0.1");
  const child = spawn("git", ["http-backend"], {
    env: {
      ...{ PATH: process.env["PATH"], ...NOBODY, GIT_PROJECT_ROOT: folder, GIT_HTTP_EXPORT_ALL: "1" },
      ...{ REQUEST_METHOD: request.method, PATH_INFO: url.pathname, QUERY_STRING: url.search.slice(1) },
      ...{ CONTENT_TYPE: request.headers["content-type"], REMOTE_USER: "tester", REMOTE_ADDR: "127.0.0.1" },
      ...{ CONTENT_LENGTH: request.headers["content-length"], GIT_PROTOCOL: request.headers["git-protocol"] as string },
      ...{ HTTP_CONTENT_ENCODING: request.headers["content-encoding"] },
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.on("error", () => undefined); // it may end before it has read everything
  child.stdin.end(body);
  let head = Buffer.alloc(0);
  let begun = false;
  child.stdout.on("data", (piece: Buffer) => {
    if (begun) {
      response.write(piece);
      return;
    }
    head = Buffer.concat([head, piece]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) return;
    begun = true;
    let status = 200;
    for (const line of head.subarray(0, end).toString().split("\r\n")) {
      const [name = "", ...value] = line.split(": ");
      if (name === "Status") status = Number.parseInt(value.join(": "), 10);
      else response.setHeader(name, value.join(": "));
    }
    response.writeHead(status);
    response.write(head.subarray(end + 4));
  });
  child.stdout.on("end", () => response.end());
}
