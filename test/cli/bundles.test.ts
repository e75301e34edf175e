// SPDX-License-Identifier: Apache-2.0
/** Several bundles on one stick: each is taken over, checked and shown by itself, and none is left out with status 0. */
import assert from "node:assert/strict";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { EXIT } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { makeReader, sealTo } from "../support/age.ts";
import { malformedBundles } from "../support/hostile-bundles.ts";
import { faultsOf } from "../support/json-schema.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { inWorld, type Ran, runLine } from "../support/transcripts.ts";

interface Stick {
  readonly root: string;
  /** File names of the older bundle, and of the newer one, which revokes acme/one. */
  readonly older: readonly string[];
  readonly newer: readonly string[];
  at(name: string): string;
  run(line: string): Promise<Ran>;
  must(line: string): Promise<Ran>;
  /** What it prints with --json, after a look at its schema. */
  json(line: string, schema: string, exit?: number): Promise<Readonly<Record<string, unknown>>>;
}

/** A store, another one that has what the older bundle brought, and a stick with both bundles. */
async function withStick(t: TestContext, act: (stick: Stick) => Promise<void>): Promise<void> {
  await inWorld(t.name.replaceAll(/[^a-z]+/g, "-").slice(0, 30), async (world) => {
    const run = (line: string): Promise<Ran> => runLine(world, line);
    const must = async (line: string): Promise<Ran> => {
      const ran = await run(line);
      assert.equal(ran.exit, 0, `${line}: ${ran.err}`);
      return ran;
    };
    const at = (name: string): string => join(world.folder, "stick", name);
    const names = (): string[] => readdirSync(join(world.folder, "stick")).sort();
    const trust = async (name: string, seed: number): Promise<void> => {
      writeFileSync(join(world.folder, `${seed}.safetensors`), makeSafetensors(2000, seed));
      await must(`coffer add ${seed}.safetensors --name ${name} --store my.coffer`);
      await must(`coffer promote ${name} --store my.coffer`);
    };
    await must("coffer key new alice --no-passphrase");
    await must("coffer init my.coffer --me alice");
    await trust("acme/one", 1);
    mkdirSync(join(world.folder, "stick"));
    await must("coffer bundle create acme/one --out stick --store my.coffer");
    const older = names();
    const [, root = ""] = /(1:[0-9a-f]{64})/.exec((await run("coffer clone stick other.coffer")).err) ?? [];
    await must(`coffer clone stick other.coffer --root ${root}`);
    await trust("acme/two", 2);
    await must("coffer revoke acme/one --reason leaks --yes --store my.coffer");
    await must("coffer bundle create acme/two --out stick --store my.coffer");
    const newer = names().filter((name) => !older.includes(name));
    const json = async (line: string, schema: string, exit = 0) => {
      const ran = await run(`${line} --json`);
      assert.equal(ran.exit, exit, `${line}: ${ran.err}`);
      const document = JSON.parse(ran.out) as Readonly<Record<string, unknown>>;
      assert.deepEqual(faultsOf(schema, document), []);
      return document;
    };
    await act({ root, older, newer, at, run, must, json });
  });
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

test("import takes over every bundle of a stick, and the newer one's revocation counts", async (t) => {
  await withStick(t, async ({ run, must, json, root }) => {
    const imported = await must("coffer bundle import stick --store other.coffer");
    assert.equal(imported.out, "already acme/one@main\nadopted acme/one@main\nadopted acme/two@main\n");
    assert.match(imported.err, /1 denial/);
    assert.doesNotMatch(imported.err, /left out/);
    assert.match((await run("coffer resolve acme/one --store other.coffer")).err, /REVOKED/);
    await must("coffer resolve acme/two --store other.coffer");
    const again = await json("coffer bundle import stick --store other.coffer", "bundle-import.json");
    assert.deepEqual([listOf(again["entries"]), listOf(again["others"]).length, again["failed"]], [[], 1, undefined]);
    const cloned = await must(`coffer clone stick third.coffer --root ${root}`);
    assert.match(cloned.out, /adopted acme\/two@main/);
    assert.match((await run("coffer resolve acme/one --store third.coffer")).err, /REVOKED/);
    const own = await run("coffer bundle import stick --store my.coffer");
    assert.equal(own.exit, EXIT.usage);
    assert.match(own.err, /expected what another store sent, found our own/);
  });
});

test("what any bundle denies is in before anything of another: nothing that is revoked is trusted on the way", async (t) => {
  await withStick(t, async ({ must, json, root }) => {
    await must(`coffer clone stick third.coffer --root ${root}`);
    const log = await json("coffer log --store third.coffer", "log.json");
    const notes = listOf(log["entries"]).map((one) => (one as { note?: string }).note ?? "");
    const kinds = notes.flatMap((note) => /^import from [0-9a-f]+(.*)$/.exec(note)?.[1] ?? []);
    assert.deepEqual(kinds.reverse(), [": denials", "", ""]);
  });
});

test("pull tells what came though no receipt can be left, and overwrites nobody's file with one", async (t) => {
  await withStick(t, async ({ run, must, json, at }) => {
    const [receipt = ""] =
      /[0-9a-f]{12}\.coffer-receipt/.exec((await must("coffer pull stick --store other.coffer")).err) ?? [];
    writeFileSync(at(receipt), "a letter");
    const pulled = await run("coffer pull stick --store other.coffer");
    assert.equal(pulled.exit, EXIT.usage);
    assert.match(pulled.out, /already acme\/two@main/);
    assert.match(pulled.err, /warning: left no receipt for them: .* \[EXISTS\]; `coffer receipt create` writes one/);
    assert.equal(readFileSync(at(receipt), "utf8"), "a letter");
    const told = await json("coffer pull stick --store other.coffer", "pull.json", EXIT.usage);
    assert.equal((told["noReceipt"] as { code: string }).code, "EXISTS");
    rmSync(at(receipt));
    await must("coffer pull stick --store other.coffer");
  });
});

test("a bundle that is encrypted for somebody else is passed over beside one that is not", async (t) => {
  await withStick(t, async ({ run, must, at, older }) => {
    const [recipient, identity] = [
      "age1ma8qka6nv85fz4tw576jlzj88ujq2xs0fg3gvtxcqnzzaxj3lvpqjxcvxn",
      "AGE-SECRET-KEY-1KE7U8S8EC9YRYH46F8PPFH2J0TR2MX8TDW2EQ9ATSX3C53QHKP6SP8STLC",
    ];
    writeFileSync(at("../other.txt"), identity, { mode: 0o600 });
    await must(`coffer bundle create acme/two --out sealed --encrypt-to ${recipient} --store my.coffer`);
    const alone = await run("coffer bundle import sealed --identity other.txt --store other.coffer");
    assert.match(alone.err, /\[IDENTITY_WRONG\]/, "of which nothing can be read");
    for (const name of older) copyFileSync(at(name), at(`../sealed/${name}`));
    const both = await must("coffer bundle import sealed --identity other.txt --store other.coffer");
    assert.match(both.err, /warning: passed over: .*\.tar\.age is encrypted for somebody else, or damaged/);
    const without = await run("coffer bundle import sealed --store other.coffer");
    assert.match(without.err, /not imported: .* \[IDENTITY_NEEDED\]/);
    assert.notEqual(without.exit, EXIT.ok);
  });
});

test("one volume of ours that will not open keeps no denial of another out, nor ends in 0", async (t) => {
  await withStick(t, async ({ run, must, at, older, newer }) => {
    const mine = await makeReader();
    writeFileSync(at("../id.txt"), mine.identity, { mode: 0o600 });
    for (const file of [...older, ...newer]) rmSync(at(file));
    writeFileSync(at("../3.safetensors"), makeSafetensors(20_000_000, 3));
    await must("coffer add 3.safetensors --name acme/three --store my.coffer");
    await must("coffer promote acme/three --store my.coffer");
    const cut = "--volume-size 16M --out stick --store my.coffer";
    await must(`coffer bundle create acme/three --encrypt-to ${mine.recipient} ${cut}`);
    const last = at(readdirSync(at("")).sort().at(-1) ?? "");
    const bytes = readFileSync(last);
    const where = bytes.indexOf("-> X25519 ") + 15;
    bytes[where] = bytes[where] === 65 ? 66 : 65;
    writeFileSync(last, bytes);
    const imported = await run("coffer bundle import stick --identity id.txt --store other.coffer");
    assert.notEqual(imported.exit, EXIT.ok);
    assert.match(imported.err, /error: .*0002-of-0002\.tar\.age: expected to be encrypted to one of the identities/);
    assert.match(imported.err, /also: .*volume 2 of 2 missing/);
    assert.match((await run("coffer resolve acme/one --store other.coffer")).err, /REVOKED/);
    const verified = await run("coffer bundle verify stick --identity id.txt");
    assert.deepEqual([verified.exit, /^not opened: /m.test(verified.out)], [EXIT.usage, true], verified.out);
  });
});

test("an encrypted volume by another name comes in, and an age file of another purpose is a note", async (t) => {
  await withStick(t, async ({ run, must, at, older, newer }) => {
    const [mine, theirs] = [await makeReader(), await makeReader()];
    for (const file of [...older, ...newer]) rmSync(at(file));
    writeFileSync(at("diary.age"), await sealTo(theirs.sealing, Buffer.from("dear diary")));
    const none = await run("coffer pull stick --store other.coffer");
    assert.equal(none.exit, EXIT.notFound, none.err);
    assert.match(none.err, /found none \[FILE_NOT_FOUND\]\n.*also: diary\.age: is encrypted/);
    await must(`coffer bundle create acme/two --out sealed.tar.age --encrypt-to ${mine.recipient} --store my.coffer`);
    renameSync(at("../sealed.tar.age"), at("for you"));
    writeFileSync(at("../id.txt"), mine.identity, { mode: 0o600 });
    const note = /passed over, and may hold a volume: diary\.age: /;
    for (const act of ["bundle verify", "bundle inspect"])
      assert.match((await must(`coffer ${act} stick --identity id.txt`)).err, note, act);
    const pulled = await must("coffer pull stick --identity id.txt --store other.coffer");
    assert.match(pulled.out, /^adopted acme\/two@main$/m);
    assert.match(pulled.err, note);
    assert.match((await run("coffer resolve acme/one --store other.coffer")).err, /REVOKED/);
  });
});

test("an older copy of a store in the root of a stick hides no volume beside it, from pull or from clone", async (t) => {
  await withStick(t, async ({ run, must, at, root, older }) => {
    mkdirSync(at("../old"));
    for (const name of older) copyFileSync(at(name), at(`../old/${name}`));
    await must(`coffer clone old aside.coffer --root ${root}`);
    cpSync(at("../aside.coffer"), at(""), { recursive: true });
    const pulled = await must("coffer pull stick --store other.coffer");
    assert.match(pulled.out, /^adopted acme\/two@main$/m);
    assert.match(pulled.err, /left a receipt for them/);
    assert.match((await run("coffer resolve acme/one --store other.coffer")).err, /REVOKED/);
    await must(`coffer clone stick third.coffer --root ${root}`);
    assert.match((await run("coffer resolve acme/one --store third.coffer")).err, /REVOKED/);
    await must("coffer resolve acme/two --store third.coffer");
  });
});

test("a store that cannot be read is one fault among the volumes beside it; alone it is the error", async (t) => {
  await withStick(t, async ({ run, at, root, older, newer }) => {
    writeFileSync(at("coffer.json"), "{}");
    const pulled = await run("coffer pull stick --store other.coffer");
    assert.equal(pulled.exit, EXIT.corrupt);
    assert.match(pulled.out, /^adopted acme\/two@main$/m);
    assert.match(pulled.err, /warning: not imported: .*stick: coffer\.json: .* \[CORRUPT\]/);
    assert.match((await run("coffer resolve acme/one --store other.coffer")).err, /REVOKED/);
    assert.equal((await run(`coffer clone stick third.coffer --root ${root}`)).exit, EXIT.corrupt);
    assert.match((await run("coffer resolve acme/one --store third.coffer")).err, /REVOKED/);
    for (const name of [...older, ...newer]) rmSync(at(name));
    for (const name of readdirSync(at(""))) if (name.endsWith(".coffer-receipt")) rmSync(at(name));
    const alone = await run("coffer pull stick --store other.coffer");
    assert.equal(alone.exit, EXIT.corrupt);
    assert.match(alone.err, /error: coffer\.json: .* \[CORRUPT\]/);
  });
});

test("a link with a volume's name on a stick is not followed, and keeps no other out", async (t) => {
  await withStick(t, async ({ run, at, older }) => {
    const [first = ""] = older;
    renameSync(at(first), at("../elsewhere.tar"));
    symlinkSync("../elsewhere.tar", at(first));
    for (const act of ["bundle import", "pull"]) {
      const ran = await run(`coffer ${act} stick --store other.coffer`);
      assert.equal(ran.exit, EXIT.corrupt, ran.err);
      assert.match(ran.err, new RegExp(`not imported: ${first}: expected a file, found something else`));
      assert.match((await run("coffer resolve acme/one --store other.coffer")).err, /REVOKED/);
    }
  });
});

test("volumes of several bundles may be named one by one, in any order and under any name", async (t) => {
  await withStick(t, async ({ run, must, at, older, newer }) => {
    copyFileSync(at(newer[0] ?? ""), at("a.tar"));
    copyFileSync(at(older[0] ?? ""), at("b.tar"));
    await must("coffer bundle import stick/a.tar stick/b.tar --store other.coffer");
    assert.match((await run("coffer resolve acme/one --store other.coffer")).err, /REVOKED/);
  });
});

test("a damaged bundle keeps no other out, and decides the status", async (t) => {
  await withStick(t, async ({ run, json, at, older }) => {
    const damaged = at(older[0] ?? "");
    truncateSync(damaged, readFileSync(damaged).length - 2000);
    const imported = await json("coffer bundle import stick --store other.coffer", "bundle-import.json", EXIT.corrupt);
    assert.deepEqual(
      listOf(imported["failed"]).map((one) => (one as { bundle: string; code: string }).code),
      ["VOLUME_DAMAGED"],
    );
    assert.match((await run("coffer resolve acme/one --store other.coffer")).err, /REVOKED/);
    const again = await run("coffer bundle import stick --store other.coffer");
    assert.match(again.err, new RegExp(`warning: not imported: ${older[0]}: .*\\[VOLUME_DAMAGED\\]`));
    assert.equal((await run("coffer bundle verify stick")).exit, EXIT.corrupt);
    truncateSync(damaged, 600);
    assert.equal((await run("coffer bundle import stick --store other.coffer")).exit, EXIT.corrupt);
    const verified = await run("coffer bundle verify stick");
    assert.equal(verified.exit, EXIT.corrupt);
    assert.match(verified.out, new RegExp(`cannot be read: ${older[0]}`));
    const inspected = await json("coffer bundle inspect stick", "bundle-inspect.json", EXIT.corrupt);
    assert.equal(listOf(inspected["failed"]).length, 1);
  });
});

test("every bundle that is no good is told, and the worst decides", async (t) => {
  await withStick(t, async ({ run, at, older, newer }) => {
    for (const file of [...older, ...newer]) truncateSync(at(file), 600);
    for (const verb of ["import", "verify", "inspect"]) {
      const ran = await run(`coffer bundle ${verb} stick${verb === "import" ? " --store other.coffer" : ""}`);
      assert.equal(ran.exit, EXIT.corrupt, verb);
      assert.match(ran.err, /error: .*\[VOLUME_DAMAGED\]\n.*also: .*\[VOLUME_DAMAGED\]/, verb);
    }
  });
});

test("a volume over a limit is damaged as any other, alone and beside good ones", async (t) => {
  const over = malformedBundles.find(({ name }) => name === "volumes without end") ?? assert.fail("no such volume");
  const volume = await over.volume();
  const index = "bundle/index.json";
  await withStick(t, async ({ run, at, older, newer }) => {
    const worlds: readonly (readonly [string, () => void])[] = [
      ["beside", () => writeFileSync(at("000000000000-0001-of-0001.tar"), volume)],
      ["alone", () => [...older, ...newer].forEach((file) => void rmSync(at(file)))],
      [
        "untarred",
        () => {
          rmSync(at("000000000000-0001-of-0001.tar"));
          mkdirSync(at("bundle"));
          writeFileSync(at(index), "");
          truncateSync(at(index), LIMITS.bundleIndexBytes + 1); // nothing of it is read
        },
      ],
    ];
    for (const [what, prepare] of worlds) {
      prepare();
      for (const verb of ["verify", "inspect", "import"]) {
        const ran = await run(`coffer bundle ${verb} stick${verb === "import" ? " --store other.coffer" : ""}`);
        assert.equal(ran.exit, EXIT.corrupt, `${what}, ${verb}: ${ran.err}`);
        assert.match(`${ran.out}${ran.err}`, /expected at most .*\[BUNDLE_INVALID\]/, `${what}, ${verb}`);
      }
    }
  });
});

test("verify and inspect tell of each bundle; neither calls the other damaged", async (t) => {
  await withStick(t, async ({ must, json, root }) => {
    const verified = await must("coffer bundle verify stick");
    assert.equal(verified.out.match(/^bundle [0-9a-f]{64}$/gm)?.length, 2);
    assert.equal(verified.out.match(/^checked /gm)?.length, 2);
    assert.doesNotMatch(verified.out, /damaged|missing/);
    assert.equal(listOf((await json("coffer bundle verify stick", "bundle-verify.json"))["others"]).length, 1);
    const inspected = await must("coffer bundle inspect stick");
    assert.equal(inspected.out.match(/^bundle [0-9a-f]{64}$/gm)?.length, 2);
    assert.equal(inspected.out.split(`root ${root}`).length, 3, "the root that people compare");
    const document = await json("coffer bundle inspect stick", "bundle-inspect.json");
    assert.equal((document["bundle"] as { readonly root: string }).root, root);
    assert.equal(listOf(document["others"]).length, 1);
  });
});

test("--again asks which of several bundles is meant", async (t) => {
  await withStick(t, async ({ run, must, at, older, newer }) => {
    const again = "coffer bundle create --only-volume 1 --out out.tar --store my.coffer --again";
    const refused = await run(`${again} stick`);
    assert.equal(refused.exit, EXIT.usage);
    for (const file of [...older, ...newer]) assert.match(refused.err, new RegExp(file));
    await must(`${again} stick/${older[0]}`);
    assert.deepEqual(readFileSync(join(at(""), "..", "out.tar")), readFileSync(at(older[0] ?? "")));
  });
});

test("clone from a pipe: of several volumes, clear or cut, with the root that was given and with none", async (t) => {
  await withStick(t, async ({ run, must, root, at }) => {
    writeFileSync(at("../big.safetensors"), makeSafetensors(17 * 1024 * 1024));
    await must("coffer add big.safetensors --name acme/big --store my.coffer");
    await must("coffer promote acme/big --store my.coffer");
    await must("coffer bundle create acme/big acme/two --volume-size 16M --out piped --store my.coffer");
    const volumes = readdirSync(at("../piped")).sort();
    assert.equal(volumes.length, 2);
    const whole = Buffer.concat(volumes.map((name) => readFileSync(at(`../piped/${name}`))));
    writeFileSync(at("../stdin"), whole);
    assert.match((await run("coffer clone - piped.coffer")).err, /\[FOREIGN_ROOT\]/);
    assert.match((await run(`coffer clone - piped.coffer --root 1:${"0".repeat(64)}`)).err, /\[FOREIGN_ROOT\]/);
    assert.ok(!existsSync(at("../piped.coffer")));
    const cloned = await must(`coffer clone - piped.coffer --root ${root}`);
    assert.equal(cloned.out, "adopted acme/big@main\nadopted acme/two@main\n");
    await must("coffer resolve acme/big --store piped.coffer");
    assert.match((await run("coffer resolve acme/one --store piped.coffer")).err, /\[REVOKED\]/);
    await must("coffer fsck --store piped.coffer");
    // What broke off is taken up by an import: the store is there by then.
    writeFileSync(at("../stdin"), whole.subarray(0, 16 * 1024 * 1024));
    const cut = await run(`coffer clone - cut.coffer --root ${root}`);
    assert.match(cut.err, /\[(VOLUME_DAMAGED|BUNDLE_INCOMPLETE)\]/);
    assert.match(cut.err, /^made the store cut\.coffer, id [0-9a-f]{64}.*\nstore key {2}.*store_key /m);
    assert.match(cut.err, /^the store stays, and is filled by: coffer bundle import --store cut\.coffer -$/m);
    assert.match((await run(`coffer clone - cut.coffer --root ${root}`)).err, /\[EXISTS\]/);
    writeFileSync(at("../stdin"), whole);
    await must("coffer bundle import - --store cut.coffer");
    await must("coffer resolve acme/big --store cut.coffer");
    writeFileSync(at("../stdin"), "no bundle");
    assert.equal((await run(`coffer clone - none.coffer --root ${root}`)).exit, EXIT.corrupt);
    assert.ok(!existsSync(at("../none.coffer")));
  });
});

test("clone says what import says of a stick that lacks the first volume, and makes nothing", async () => {
  await inWorld("clone-lacks-one", async (world) => {
    const run = (line: string): Promise<Ran> => runLine(world, line);
    writeFileSync(join(world.folder, "big.safetensors"), makeSafetensors(17 * 1024 * 1024));
    await run("coffer key new alice --no-passphrase");
    await run("coffer init my.coffer --me alice");
    await run("coffer add big.safetensors --name acme/big --store my.coffer");
    await run("coffer promote acme/big --store my.coffer");
    await run("coffer bundle create acme/big --volume-size 16M --out stick --store my.coffer");
    const volumes = readdirSync(join(world.folder, "stick")).sort();
    assert.equal(volumes.length, 2);
    rmSync(join(world.folder, "stick", volumes[0] ?? ""));
    const ran = await run(`coffer clone stick other.coffer --root 1:${"0".repeat(64)}`);
    assert.equal(ran.exit, EXIT.incomplete);
    assert.match(ran.err, /volume 1 of 2 missing.*\[BUNDLE_INCOMPLETE\]/);
    assert.ok(!readdirSync(world.folder).includes("other.coffer"));
  });
});

test("one signature that is damaged: the version is refused, and the status says damage, as verify does", async () => {
  await inWorld("damaged-signature", async (world) => {
    const run = (line: string): Promise<Ran> => runLine(world, line);
    const must = async (line: string): Promise<Ran> => {
      const ran = await run(line);
      assert.equal(ran.exit, 0, `${line}: ${ran.err}`);
      return ran;
    };
    await must("coffer key new alice --no-passphrase");
    await must("coffer init my.coffer --me alice");
    await must("coffer bundle create --revocations --out empty.tar --store my.coffer");
    const [, root = ""] = /(1:[0-9a-f]{64})/.exec((await run("coffer clone empty.tar other.coffer")).err) ?? [];
    await must(`coffer clone empty.tar other.coffer --root ${root}`);
    for (const seed of [1, 2]) {
      writeFileSync(join(world.folder, `${seed}.safetensors`), makeSafetensors(2000, seed));
      await must(`coffer add ${seed}.safetensors --name acme/one --store my.coffer`);
      await must("coffer promote acme/one --store my.coffer");
    }
    await must("coffer bundle create acme/one --out v.tar --store my.coffer");
    const { names } = JSON.parse((await must("coffer bundle inspect v.tar --json")).out) as {
      readonly names: readonly { readonly heads: readonly string[] }[];
    };
    const head = names[0]?.heads[0] ?? "";
    const volume = join(world.folder, "v.tar");
    const bytes = readFileSync(volume);
    const header = bytes.lastIndexOf(`signatures/${head.slice(0, 2)}/${head.slice(2)}`); // the prefix of its tar header
    const inside = bytes.indexOf("-----BEGIN SSH SIGNATURE-----\n", header) + 200;
    bytes[inside] = bytes[inside] === 0x41 ? 0x42 : 0x41;
    writeFileSync(volume, bytes);
    assert.equal((await run("coffer bundle verify v.tar")).exit, EXIT.corrupt);
    const imported = await run("coffer bundle import v.tar --store other.coffer");
    assert.equal(imported.out, "refused acme/one@main\n", imported.err);
    assert.match(
      imported.err,
      /warning: not stored: signature over [0-9a-f]{12} by key .*damaged.* \[VOLUME_DAMAGED\]/,
    );
    assert.match(imported.err, /warning: acme\/one@main: statement .* \[(APPROVALS_SHORT|PUBLISHER_MISSING)\]/);
    assert.equal(imported.exit, EXIT.corrupt);
    await must("coffer bundle create acme/one --out good.tar --store my.coffer");
    assert.equal((await must("coffer bundle import good.tar --store other.coffer")).out, "adopted acme/one@main\n");
    await must("coffer resolve acme/one --store other.coffer");
  });
});
