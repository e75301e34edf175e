// SPDX-License-Identifier: Apache-2.0
/** Encrypted bundles and Debian's age: it opens what the built command wrote, and the command takes what it wrote. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
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
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { encodeSafetensors } from "../../scripts/fixtures/tiny-hf-folder.mjs";
import { builtCli } from "../support/cli-process.ts";

const TOOLS = ["/usr/bin/age", "/usr/bin/age-keygen"];
const skip = TOOLS.every((tool) => existsSync(tool)) ? false : `needs ${TOOLS.join(" and ")}`;

interface Ended {
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** A store with a large and a small model, and two people with identities of age-keygen. */
class World {
  readonly folder = mkdtempSync(join(tmpdir(), "coffer-age-"));
  me = "";
  other = "";
  /** Number and digest of the policy. */
  root = "";

  path(name: string): string {
    return join(this.folder, name);
  }

  run(command: string, args: readonly string[], input?: Uint8Array, env: Record<string, string> = {}): Ended {
    const { stdout, stderr, status } = spawnSync(command, [...args], {
      cwd: this.folder,
      env: { PATH: process.env["PATH"] ?? "", HOME: this.path("home"), LC_ALL: "C", COFFER_STORE: "a.coffer", ...env },
      maxBuffer: 200 * 1024 * 1024,
      ...(input === undefined ? {} : { input }),
    });
    return { status, stdout, stderr: String(stderr) };
  }

  coffer(args: readonly string[], status = 0, input?: Uint8Array, env?: Record<string, string>): Ended {
    const ended = this.run(process.execPath, [builtCli(), ...args], input, env);
    assert.equal(ended.status, status, `coffer ${args.join(" ")}: ${ended.stderr}`);
    return ended;
  }

  age(args: readonly string[], input?: Uint8Array): Buffer {
    const ended = this.run("/usr/bin/age", args, input);
    assert.equal(ended.status, 0, `age ${args.join(" ")}: ${ended.stderr}`);
    return ended.stdout;
  }

  keygen(file: string): string {
    assert.equal(this.run("/usr/bin/age-keygen", ["-o", file]).status, 0);
    return this.run("/usr/bin/age-keygen", ["-y", file]).stdout.toString().trim();
  }

  /** Names of volumes in a folder. */
  volumes(folder: string): readonly string[] {
    return readdirSync(this.path(folder)).sort();
  }

  setUp(): void {
    mkdirSync(this.path("home"));
    writeFileSync(this.path("tiny.gguf"), makeTinyGguf({ seed: 1 }));
    const weights = Buffer.alloc(40 * 1024 * 1024, "weights ");
    writeFileSync(
      this.path("big.safetensors"),
      encodeSafetensors([{ name: "w", dtype: "U8", shape: [weights.length], data: weights }]),
    );
    this.coffer(["key", "new", "alice", "--no-passphrase"]);
    const { stderr } = this.coffer(["init", "a.coffer", "--me", "alice"]);
    this.root = /1:[0-9a-f]{64}/.exec(stderr)?.[0] ?? "";
    for (const [name, file] of [
      ["acme/tiny", "tiny.gguf"],
      ["acme/big", "big.safetensors"],
    ] as const) {
      this.coffer(["add", file, "--name", name]);
      this.coffer(["promote", name]);
    }
    this.me = this.keygen("id.txt");
    this.other = this.keygen("other.txt");
  }
}

describe("stock age", { skip }, () => {
  let world: World;
  before(() => {
    world = new World();
    world.setUp();
  });
  after(() => rmSync(world.folder, { recursive: true, force: true }));

  test("opens every volume, for each recipient, and finds the clear bytes; an identity of nobody opens none", () => {
    writeFileSync(world.path("team.txt"), `# the lab\n${world.other}\n\n${world.me}\n`);
    world.coffer([
      "bundle",
      "create",
      "acme/*@*",
      "--out",
      "sealed",
      "--encrypt-to",
      "@team.txt",
      "--volume-size",
      "16M",
    ]);
    const names = world.volumes("sealed");
    assert.ok(names.length >= 3, `${names.length} volumes`);
    world.coffer(["bundle", "create", "--again", "sealed", "--identity", "id.txt", "--out", "x"], 2); // would be in clear
    mkdirSync(world.path("opened"));
    for (const name of names) {
      assert.ok(statSync(world.path(`sealed/${name}`)).size <= 16 * 1024 * 1024);
      const clear = world.age(["-d", "-i", "id.txt", `sealed/${name}`]);
      assert.deepEqual(world.age(["-d", "-i", "other.txt", `sealed/${name}`]), clear);
      writeFileSync(world.path(`opened/${name.replace(".age", "")}`), clear);
    }
    // The same state and request, in clear and from what age opened: the same bytes.
    world.coffer(["bundle", "create", "--again", "opened", "--out", "clear"]);
    assert.deepEqual(world.volumes("clear"), world.volumes("opened"));
    for (const name of world.volumes("clear"))
      assert.ok(readFileSync(world.path(`clear/${name}`)).equals(readFileSync(world.path(`opened/${name}`))), name);
    world.keygen("nobody.txt");
    assert.notEqual(world.run("/usr/bin/age", ["-d", "-i", "nobody.txt", `sealed/${names[0]}`]).status, 0);
    world.coffer(["bundle", "verify", "sealed", "--identity", "id.txt"]);
  });

  test("opens what comes out of a pipe", () => {
    const sealed = world.coffer(["bundle", "create", "acme/big", "--out", "-", "--encrypt-to", world.me]).stdout;
    const clear = world.coffer(["bundle", "create", "acme/big", "--out", "-"]).stdout;
    assert.ok(world.age(["-d", "-i", "id.txt"], sealed).equals(clear));
    const both = world.coffer([
      "bundle",
      "create",
      "acme/big",
      "--out",
      "-",
      "--encrypt-to",
      world.me,
      "--volume-size",
      "16M",
    ]);
    world.coffer(["bundle", "verify", "-", "--identity", "id.txt"], 0, both.stdout);
    world.coffer(["bundle", "verify", "-"], 0, world.age(["-d", "-i", "id.txt"], both.stdout));
  });

  test("what it encrypted is inspected, checked and imported, beside volumes in clear", () => {
    world.coffer(["bundle", "create", "acme/*@*", "--out", "mixed", "--volume-size", "16M"]);
    for (const name of world.volumes("mixed").filter((_, at) => at !== 1)) {
      world.age(["-r", world.other, "-r", world.me, "-o", `mixed/${name}.age`, `mixed/${name}`]);
      rmSync(world.path(`mixed/${name}`));
    }
    for (const act of ["inspect", "verify"]) {
      world.coffer(["bundle", act, "mixed"], 2);
      world.coffer(["bundle", act, "mixed", "--identity", "id.txt"]);
    }
    world.coffer(["clone", "mixed", "b.coffer", "--root", world.root], 2);
    world.coffer(["clone", "mixed", "b.coffer", "--root", world.root], 0, undefined, { COFFER_IDENTITY: "id.txt" });
    const resolved = world.coffer(["resolve", "acme/big", "--store", "b.coffer"]).stdout.toString();
    assert.equal(resolved, world.coffer(["resolve", "acme/big"]).stdout.toString());
    const again = world.coffer(["bundle", "import", "mixed", "--identity", "id.txt", "--store", "b.coffer"]);
    assert.match(again.stderr, /nothing moved/);
  });

  test("what it writes for others, to an OpenSSH key or in armor is refused with a code", () => {
    world.coffer(["bundle", "create", "acme/tiny", "--out", "one.tar"]);
    assert.equal(world.run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", "ssh"]).status, 0);
    const ssh = readFileSync(world.path("ssh.pub"), "utf8").trim();
    const cases = [
      ["other.tar.age", ["-r", world.other], "IDENTITY_WRONG"],
      ["ssh.tar.age", ["-r", ssh], "IDENTITY_WRONG"],
      ["armor.tar.age", ["-a", "-r", world.me], "UNSUPPORTED"],
    ] as const;
    for (const [file, args, code] of cases) {
      world.age([...args, "-o", file, "one.tar"]);
      const { stderr } = world.coffer(["bundle", "verify", file, "--identity", "id.txt"], 2);
      assert.ok(stderr.includes(`[${code}]`), stderr);
    }
    // To an OpenSSH key and to us: ours opens it.
    world.age(["-r", ssh, "-r", world.me, "-o", "both.tar.age", "one.tar"]);
    world.coffer(["bundle", "verify", "both.tar.age", "--identity", "id.txt"]);
    const refused = world.coffer(["bundle", "create", "acme/tiny", "--out", "x", "--encrypt-to", ssh], 2).stderr;
    assert.match(refused, /an OpenSSH key, which stock age takes and coffer does not.*\[RECIPIENT_INVALID\]/);
    assert.ok(!existsSync(world.path("x")));
  });

  test("an identity file that others may read is refused, as one of theirs with a passphrase is", () => {
    world.coffer(["bundle", "create", "acme/tiny", "--out", "two.tar.age", "--encrypt-to", world.me]);
    writeFileSync(world.path("open.txt"), readFileSync(world.path("id.txt")));
    chmodSync(world.path("open.txt"), 0o644); // whatever the umask is
    const { stderr } = world.coffer(["bundle", "verify", "two.tar.age", "--identity", "open.txt"], 2);
    assert.match(stderr, /open\.txt: expected mode 0600, found 0644 \[KEY_MODE\]/);
    writeFileSync(world.path("locked.txt"), world.age(["-r", world.me, "id.txt"]), { mode: 0o600 });
    assert.match(
      world.coffer(["bundle", "verify", "two.tar.age", "--identity", "locked.txt"], 2).stderr,
      /an identity file with a passphrase.*\[IDENTITY_INVALID\]/,
    );
  });
});
