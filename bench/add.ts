// SPDX-License-Identifier: Apache-2.0
/** `npm run bench -- add`: taking in one large file, beside what a script would do, and beside git-lfs. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { type Bench, type Contender, interleave, needPeer, ratioOf, timed } from "./support/harness.ts";
import { Scratch } from "./support/scratch.ts";

const MIB = 1024 * 1024;
const ADD = "coffer add";
const FLOOR = "node: read, hash, write, fsync";
const SCRIPT = "sha256sum, cp, sync";
const LFS = "git lfs clean";
const PIECE_BYTES = 8 * MIB;

/** One pass, one hash, one durable copy: what nobody who keeps a verified copy can leave out. */
function bareAdd(from: string, to: string): void {
  const [source, target] = [fs.openSync(from, "r"), fs.openSync(to, "wx")];
  const [hash, buffer] = [createHash("sha256"), Buffer.alloc(PIECE_BYTES)];
  for (let count = fs.readSync(source, buffer); count > 0; count = fs.readSync(source, buffer)) {
    hash.update(buffer.subarray(0, count));
    fs.writeSync(target, buffer, 0, count);
  }
  hash.digest("hex");
  fs.fsyncSync(target);
  for (const fd of [source, target]) fs.closeSync(fd);
}

/** Each works on the same file, with other bytes at its end for each, so that none finds its bytes already there. */
function contendersOf(scratch: Scratch, model: string): Record<string, Contender> {
  const fresh = (act: (round: number) => void): Contender => {
    return (round) => {
      scratch.alter(model);
      return timed(() => act(round));
    };
  };
  return {
    [ADD]: fresh((round) => scratch.coffer("--store", scratch.store, "add", model, "--name", `bench/m@r${round}`)),
    [FLOOR]: fresh((round) => bareAdd(model, join(scratch.folder, "floor", `${round}`))),
    [SCRIPT]: fresh((round) => {
      const to = join(scratch.folder, "script", `${round}`);
      scratch.run("sh", "-c", 'sha256sum "$0" >/dev/null && cp "$0" "$1" && sync "$1"', model, to);
    }),
    [LFS]: fresh(() => scratch.run("sh", "-c", 'cd repo && git lfs clean < "$0" >/dev/null', model)),
  };
}

export const bench: Bench = {
  title: "Adding a large file",
  about: `
One safetensors file, in the page cache; each contender copies it and knows its SHA-256 afterwards. \`coffer add\` is a whole
process: it hashes the file and each 8 MiB of it, inspects it, signs the result and makes all of it durable. \`git lfs clean\`
hashes and copies, and makes nothing durable.`,
  async run({ quick, rounds }) {
    const peers = [needPeer("sha256sum", "coreutils"), needPeer("git-lfs", "git-lfs", ["version"])];
    const scratch = new Scratch();
    try {
      for (const folder of ["floor", "script", "repo"]) scratch.empty(folder);
      scratch.run("git", "init", "--quiet", "repo");
      const model = scratch.model("model.safetensors", (quick ? 64 : 256) * MIB);
      const samples = await interleave(contendersOf(scratch, model), rounds);
      return {
        ratios: [
          ratioOf(samples, ADD, FLOOR),
          ratioOf(samples, ADD, SCRIPT, { atMost: 1 }),
          ratioOf(samples, ADD, LFS, { atMost: 1 }),
        ],
        notes: [`The file has ${quick ? 64 : 256} MiB.`],
        peers,
      };
    } finally {
      scratch.end();
    }
  },
};
