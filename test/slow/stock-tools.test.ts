// SPDX-License-Identifier: Apache-2.0
/**
 * A store that the built command line made, read by stock tools: `sha256sum` for names, `ssh-keygen` for signatures, and
 * the shell lines of the README; and what `ssh-keygen` signs, honest or junk, given to `approve --in` and planted by hand.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { encodeSafetensors } from "../../scripts/fixtures/tiny-hf-folder.mjs";
import { loadVectors } from "../support/vectors.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const MAIN = join(ROOT, "dist", "cli", "main.js");
const TOOLS = ["/usr/bin/ssh-keygen", "/usr/bin/sha256sum"];
const skip = TOOLS.every((tool) => existsSync(tool)) ? false : `needs ${TOOLS.join(" and ")}`;

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** One machine with one store: alice's key is coffer's, bob's is OpenSSH's and has a passphrase. 2 of 2 approve. */
class World {
  readonly folder = mkdtempSync(join(tmpdir(), "coffer-stock-"));
  readonly store = join(this.folder, "my.coffer");
  readonly home = join(this.folder, "home");
  readonly secret = "correct horse";

  path(...parts: readonly string[]): string {
    return join(this.folder, ...parts);
  }

  run(command: string, args: readonly string[], input?: Uint8Array): Ended {
    const env = { PATH: process.env["PATH"] ?? "", HOME: this.home, LC_ALL: "C", COFFER_STORE: this.store };
    return spawnSync(command, [...args], { cwd: this.folder, env, encoding: "utf8", ...(input ? { input } : {}) });
  }

  coffer(args: readonly string[], status = 0): Ended {
    const ended = this.run(process.execPath, [MAIN, ...args]);
    assert.equal(ended.status, status, `coffer ${args.join(" ")}: ${ended.stderr}`);
    return ended;
  }

  keygen(args: readonly string[], input?: Uint8Array): Ended {
    const ended = this.run("ssh-keygen", args, input);
    assert.equal(ended.status, 0, `ssh-keygen ${args.join(" ")}: ${ended.stderr}${ended.stdout}`);
    return ended;
  }

  /** What real ssh-keygen signs with the key file `key`. */
  sign(key: string, message: Uint8Array, namespace: string, more: readonly string[] = []): string {
    const file = this.path("to-sign");
    writeFileSync(file, message);
    rmSync(`${file}.sig`, { force: true });
    this.keygen(["-Y", "sign", "-q", "-P", this.secret, "-n", namespace, "-f", this.path(key), ...more, file]);
    return readFileSync(`${file}.sig`, "utf8");
  }

  filesBelow(...folders: readonly string[]): readonly string[] {
    return folders.flatMap((folder) => {
      const top = join(this.store, folder);
      const names = readdirSync(top, { recursive: true, encoding: "utf8" });
      return names.map((name) => join(top, name)).filter((path) => statSync(path).isFile());
    });
  }

  /** A statement or manifest in the store. */
  object(id: string): string {
    return join(this.store, "objects", id.slice(0, 2), id.slice(2));
  }

  signature(id: string, keyId: string): string {
    return join(this.store, "signatures", id.slice(0, 2), `${id.slice(2)}.${keyId}.sig`);
  }

  propose(name: string): { readonly id: string; readonly bytes: Uint8Array } {
    const id = this.coffer(["propose", name, "--as", "alice"]).stdout.trim();
    assert.match(id, /^[0-9a-f]{64}$/u);
    return { id, bytes: readFileSync(this.object(id)) };
  }

  /** "1 of 2 approvals (alice)", or "" when nothing is missing. */
  missing(name: string): string {
    const shown = JSON.parse(this.coffer(["show", name, "--json"]).stdout) as {
      readonly candidate: { readonly ready: boolean; readonly reasons: readonly { readonly text: string }[] };
    };
    const { ready, reasons } = shown.candidate;
    assert.equal(ready, reasons.length === 0);
    return reasons.map(({ text }) => text).join("; ");
  }
}

const keyIdOf = (line: string): string =>
  createHash("sha256")
    .update(Buffer.from(line.split(" ")[1] ?? "", "base64"))
    .digest("hex");

function makeWorld(): World {
  const world = new World();
  mkdirSync(world.home);
  world.coffer(["key", "new", "alice", "--no-passphrase"]);
  world.keygen(["-q", "-t", "ed25519", "-a", "4", "-N", world.secret, "-C", "bob", "-f", world.path("bob")]);
  world.keygen(["-q", "-t", "ed25519", "-a", "4", "-N", world.secret, "-C", "mallory", "-f", world.path("mallory")]);
  const alice = join(world.home, ".config", "coffer", "keys", "alice.pub");
  world.coffer(["init", "my.coffer", "--team", `alice=${alice},bob=bob.pub`, "--threshold", "2"]);
  // Over 8 MiB, so that there is a chunk list among the objects.
  mkdirSync(world.path("model"));
  const shape = [1100, 2048];
  const data = Buffer.alloc(4 * 1100 * 2048, "weights!");
  writeFileSync(
    world.path("model", "model.safetensors"),
    encodeSafetensors([{ name: "w", dtype: "F32", shape, data }]),
  );
  writeFileSync(world.path("model", "config.json"), '{"model_type":"llama"}\n');
  writeFileSync(world.path("tiny.gguf"), makeTinyGguf());
  world.coffer(["add", "model", "--name", "acme/big"]);
  world.coffer(["add", "tiny.gguf", "--name", "acme/tiny"]);
  return world;
}

/** The blob of an armored signature, changed by `change`, armored again as ssh-keygen does. */
function altered(honest: string, change: (blob: Buffer) => Uint8Array): string {
  const blob = Buffer.from(honest.split("\n").slice(1, -2).join(""), "base64");
  const base64 = Buffer.from(change(blob)).toString("base64");
  return [
    "-----BEGIN SSH SIGNATURE-----",
    ...(base64.match(/.{1,70}/gu) ?? []),
    "-----END SSH SIGNATURE-----",
    "",
  ].join("\n");
}

/** Byte `at` (from the end if negative) replaced. */
const setByte = (at: number, value: (byte: number) => number) => (blob: Buffer) => {
  const copy = Buffer.from(blob);
  const index = at < 0 ? copy.length + at : at;
  copy[index] = value(copy[index] ?? 0) & 0xff;
  return copy;
};

/** S + L: the second form of the same signature (RFC 8032 section 5.1.7 forbids it, some verifiers take it). */
function plusOrder(blob: Buffer): Uint8Array {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const s = BigInt(`0x${Buffer.from(blob.subarray(-32)).reverse().toString("hex")}`) + order;
  return Buffer.concat([blob.subarray(0, -32), Buffer.from(s.toString(16).padStart(64, "0"), "hex").reverse()]);
}

/** Forms made from bob's honest signature over the very statement, or signed by him for something else. */
function junkForms(world: World, message: Uint8Array, honest: string): ReadonlyMap<string, string> {
  const smallOrder = loadVectors<{ readonly name: string; readonly signature: string }>("sshsig").find(({ name }) =>
    name.startsWith("junk: small-order key, forged"),
  );
  assert.ok(smallOrder !== undefined);
  const signed = (namespace: string, bytes = message, more: readonly string[] = []) =>
    world.sign("bob", bytes, namespace, more);
  return new Map([
    ["for files", signed("file")],
    ["for a manifest", signed("coffer-manifest")],
    ["with sha256", signed("coffer-statement", message, ["-O", "hashalg=sha256"])],
    ["over the bytes without their newline", signed("coffer-statement", message.subarray(0, -1))],
    ["S plus the group order", altered(honest, plusOrder)],
    [
      "a bit of S changed",
      altered(
        honest,
        setByte(-32, (byte) => byte ^ 1),
      ),
    ],
    [
      "a bit of R changed",
      altered(
        honest,
        setByte(-64, (byte) => byte ^ 1),
      ),
    ],
    [
      "magic changed",
      altered(
        honest,
        setByte(0, () => 0x54),
      ),
    ],
    [
      "version 2",
      altered(
        honest,
        setByte(9, () => 2),
      ),
    ],
    ["a byte after the end", altered(honest, (blob) => Buffer.concat([blob, Buffer.from([0])]))],
    ["the last byte missing", altered(honest, (blob) => blob.subarray(0, -1))],
    ["a small-order key", smallOrder.signature],
    ["text before", `Signed by bob:\n${honest}`],
    ["twice", `${honest}${honest}`],
    ["nothing", ""],
    ["over 4 KiB", `${honest}${"\n".repeat(5000)}`],
  ]);
}

describe("stock tools", { skip }, () => {
  let world: World;
  before(() => {
    world = makeWorld();
  });
  after(() => rmSync(world.folder, { recursive: true, force: true }));

  test("approve --in: junk is refused with 4 and leaves nothing; the honest signature counts", () => {
    const { id, bytes } = world.propose("acme/tiny");
    world.coffer(["approve", "acme/tiny", "--as", "alice", "--yes"]);
    const honest = world.sign("bob", bytes, "coffer-statement");
    const there = world.filesBelow("signatures");
    const junk = junkForms(world, bytes, honest);
    assert.ok(junk.size >= 12);
    for (const [what, text] of junk) {
      writeFileSync(world.path("junk.sig"), text);
      const { stderr } = world.coffer(["approve", "acme/tiny", "--in", "junk.sig"], 4);
      assert.match(stderr, /\[SIGNATURE_INVALID\]/u, what);
      assert.deepEqual(world.filesBelow("signatures"), there, what);
    }
    assert.equal(world.missing("acme/tiny"), "1 of 2 approvals (alice)");
    writeFileSync(world.path("mallory.sig"), world.sign("mallory", bytes, "coffer-statement"));
    assert.match(world.coffer(["approve", "acme/tiny", "--in", "mallory.sig"], 3).stderr, /\[NOT_ALLOWED\]/u);
    writeFileSync(world.path("bob.sig"), honest);
    world.coffer(["approve", "acme/tiny", "--in", "bob.sig"]);
    assert.equal(world.missing("acme/tiny"), "");
    const kept = readFileSync(world.signature(id, keyIdOf(readFileSync(world.path("bob.pub"), "utf8"))), "utf8");
    assert.equal(kept, honest);
  });

  test("junk planted by hand in bob's place counts as absent, and his honest signature replaces it", () => {
    const { id, bytes } = world.propose("acme/big");
    world.coffer(["approve", "acme/big", "--as", "alice", "--yes"]);
    const honest = world.sign("bob", bytes, "coffer-statement");
    writeFileSync(world.path("bob.sig"), honest);
    const place = world.signature(id, keyIdOf(readFileSync(world.path("bob.pub"), "utf8")));
    const layouts = [
      ["CRLF line ends", honest.replaceAll("\n", "\r\n")],
      ["no final newline", honest.trimEnd()],
      ["mallory's", world.sign("mallory", bytes, "coffer-statement")],
    ] as const;
    for (const [what, text] of [...junkForms(world, bytes, honest), ...layouts]) {
      rmSync(place, { force: true });
      writeFileSync(place, text);
      assert.equal(world.missing("acme/big"), "1 of 2 approvals (alice)", what);
      world.coffer(["approve", "acme/big", "--in", "bob.sig"]);
      assert.equal(readFileSync(place, "utf8"), honest, what);
    }
    // And beside it, under names that nobody asks for.
    const mallory = keyIdOf(readFileSync(world.path("mallory.pub"), "utf8"));
    const strange = [world.signature(id, mallory), `${place}.bak`, join(dirname(place), "x.sig")];
    for (const path of strange) writeFileSync(path, honest);
    assert.equal(world.missing("acme/big"), "");
    for (const path of strange) rmSync(path);
  });

  test("reject --out, ssh-keygen -Y sign, reject --in: bob's refusal counts, and passes ssh-keygen -Y verify", () => {
    world.coffer(["add", "tiny.gguf", "--name", "acme/refused"]);
    const { id } = world.propose("acme/refused");
    world.coffer(["reject", "acme/refused", "--reason", "not ours to give", "--out", "desk"]);
    const file = world.path("desk", "acme-refused-main.refusal");
    for (const [key, namespace, exit, code] of [
      ["bob", "coffer-statement", 4, "SIGNATURE_INVALID"],
      ["mallory", "coffer-refusal", 3, "NOT_ALLOWED"],
      ["bob", "coffer-refusal", 0, ""],
    ] as const) {
      rmSync(`${file}.sig`, { force: true });
      world.keygen(["-Y", "sign", "-q", "-P", world.secret, "-n", namespace, "-f", world.path(key), file]);
      const { stderr } = world.coffer(["reject", "acme/refused", "--in", `${file}.sig`], exit);
      assert.ok(stderr.includes(code), stderr);
    }
    const list = world.coffer(["show", "acme/refused"]).stderr;
    assert.match(list, /refused by bob: not ours to give \[REFUSED\]/u);
    world.coffer(["approve", "acme/refused", "--as", "alice", "--yes"], 3);
    assert.ok(readFileSync(file, "utf8").includes(id));
  });

  test("promote, revoke: then every name is what sha256sum prints", () => {
    world.coffer(["promote"]);
    world.coffer(["revoke", "acme/tiny", "--reason", "a test", "--as", "alice", "--yes"]);
    world.coffer(["fsck"]);
    const files = world.filesBelow("objects", "blobs");
    assert.ok(files.some((file) => !readFileSync(file, "latin1").startsWith("{") && statSync(file).size === 64));
    const { stdout, status } = world.run("sha256sum", files);
    assert.equal(status, 0);
    const lines = stdout.trimEnd().split("\n");
    assert.equal(lines.length, files.length);
    for (const line of lines) {
      const [digest = "", file = ""] = line.split("  ");
      assert.equal(relative(world.store, file).split("/").slice(1).join(""), digest);
    }
  });

  /** The policy's keys and, as `store`, the one in log entry 1. */
  function allowedSigners(): ReadonlyMap<string, string> {
    const { policy } = JSON.parse(world.coffer(["policy", "show", "--json"]).stdout) as {
      readonly policy: { readonly principals: Readonly<Record<string, { readonly keys: { readonly key: string }[] }>> };
    };
    const [first = ""] = readFileSync(join(world.store, "log/000000/000000000001"), "utf8").split("\n");
    const { storeKey } = JSON.parse(first) as { readonly storeKey: string };
    const people = Object.entries(policy.principals).map(([name, { keys }]) => [name, keys[0]?.key ?? ""] as const);
    const signers = [...people, ["store", storeKey] as const];
    writeFileSync(world.path("allowed_signers"), signers.map(([name, key]) => `${name} ${key}\n`).join(""));
    return new Map(signers.map(([name, key]) => [keyIdOf(key), name]));
  }

  function verify(who: string, namespace: string, signature: string, message: Uint8Array): void {
    const args = ["-f", world.path("allowed_signers"), "-I", who, "-n", namespace, "-s", signature];
    const { stdout } = world.keygen(["-Y", "verify", ...args], message);
    assert.ok(stdout.startsWith(`Good "${namespace}" signature for ${who}`), stdout);
  }

  test("every signature file passes ssh-keygen -Y verify", () => {
    const names = allowedSigners();
    const seen = new Set<string>();
    for (const file of world.filesBelow("signatures")) {
      const [, object = "", keyId = ""] = /signatures\/(.+)\.([0-9a-f]{64})\.sig$/u.exec(file) ?? [];
      const message = readFileSync(join(world.store, "objects", object));
      const { type } = JSON.parse(message.toString()) as { readonly type: string };
      const who = names.get(keyId);
      assert.ok(who !== undefined, file);
      verify(who, type.replace("/", "-"), file, message);
      seen.add(`${type} ${who}`);
    }
    const wanted = ["evidence store", "manifest alice", "refusal bob", "statement alice", "statement bob"];
    assert.deepEqual(
      [...seen].sort(),
      wanted.map((text) => `coffer/${text}`),
    );
  });

  test("every log entry's signature passes ssh-keygen -Y verify", () => {
    allowedSigners();
    const entries = world.filesBelow("log");
    assert.equal(entries.length, 10);
    for (const entry of entries) {
      const text = readFileSync(entry, "utf8");
      const end = text.indexOf("\n") + 1;
      writeFileSync(world.path("entry.sig"), text.slice(end));
      verify("store", "coffer-log", world.path("entry.sig"), Buffer.from(text.slice(0, end)));
    }
  });

  test("the README's shell lines for checking: silent where all is well, and they name what is not", () => {
    const section = readFileSync(join(ROOT, "README.md"), "utf8").split("## Checking it without Coffer")[1] ?? "";
    const [names = "", signatures = ""] = [...section.matchAll(/^```sh\n([\s\S]*?)^```$/gmu)].map(
      ([, text = ""]) => text,
    );
    allowedSigners();
    const bash = (script: string) => {
      const args = ["-c", `cd my.coffer && cp ../allowed_signers . && { ${script} }; rm -f allowed_signers`];
      return world.run("bash", args);
    };
    const { status, stdout, stderr } = bash(names);
    assert.deepEqual([status, stdout, stderr], [0, "", ""]);
    const verified = bash(signatures.replace("acme/tiny", "acme/big")).stdout;
    assert.deepEqual(
      [...verified.matchAll(/Good "coffer-statement" signature for (\S+)/gu)].map(([, who]) => who).sort(),
      ["alice", "bob"],
    );
    const [blob = ""] = world.filesBelow("blobs");
    const good = readFileSync(blob);
    rmSync(blob);
    writeFileSync(blob, Buffer.concat([good, Buffer.from("x")]));
    assert.equal(bash(names).stdout, `not its name: ${relative(world.store, blob)}\n`);
    rmSync(blob);
    writeFileSync(blob, good);
  });
});
