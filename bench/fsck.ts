// SPDX-License-Identifier: Apache-2.0
/** `npm run bench -- fsck`: checking all bytes of a store, beside hashing the same files. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Bench, interleave, needPeer, ratioOf, timed } from "./support/harness.ts";
import { Scratch } from "./support/scratch.ts";

const MIB = 1024 * 1024;
const FSCK = "coffer fsck";
const SUMS = "sha256sum -c";
const OPENSSL = "openssl dgst -sha256";

/** Paths of all blobs and objects, and what their SHA-256 must be. */
function namedFiles(store: string): { readonly path: string; readonly sha256: string }[] {
  return ["blobs", "objects"].flatMap((area) =>
    readdirSync(join(store, area)).flatMap((folder) =>
      readdirSync(join(store, area, folder)).map((file) => ({
        path: join(store, area, folder, file),
        sha256: folder + file,
      })),
    ),
  );
}

export const bench: Bench = {
  title: "Checking a store",
  about: `
A store of two models of the same size, in the page cache. \`coffer fsck\` is a whole process: it hashes every blob and every
object, checks all signatures and verdicts, the log and the tree of refs. \`sha256sum -c\` compares the same files with their
names; \`openssl dgst\` only hashes them, and is the floor: the processor's own SHA-256 on one core.`,
  async run({ quick, rounds }) {
    const peers = [needPeer("sha256sum", "coreutils"), needPeer("openssl", "openssl", ["version"])];
    const sizeMib = quick ? 32 : 256;
    const scratch = new Scratch();
    try {
      for (const name of ["one", "two"]) {
        const model = scratch.model(`${name}.safetensors`, sizeMib * MIB);
        scratch.coffer("--store", scratch.store, "add", model, "--name", `bench/${name}`);
        scratch.coffer("--store", scratch.store, "promote", `bench/${name}`);
      }
      const files = namedFiles(scratch.store);
      const list = join(scratch.folder, "sums");
      writeFileSync(list, files.map(({ path, sha256 }) => `${sha256}  ${path}\n`).join(""));
      for (const { path } of files) readFileSync(path);
      const contenders = {
        [FSCK]: () => timed(() => scratch.coffer("--store", scratch.store, "fsck")),
        [SUMS]: () => timed(() => scratch.run("sha256sum", "--check", "--quiet", list)),
        [OPENSSL]: () => timed(() => scratch.run("openssl", "dgst", "-sha256", ...files.map(({ path }) => path))),
      };
      const samples = await interleave(contenders, rounds);
      return {
        ratios: [ratioOf(samples, FSCK, SUMS, { atMost: 1 }), ratioOf(samples, FSCK, OPENSSL)],
        notes: [`Each model has ${sizeMib} MiB.`],
        peers,
      };
    } finally {
      scratch.end();
    }
  },
};
