// SPDX-License-Identifier: Apache-2.0
/** Bundles of several volumes as the command line tells of them: what is missing, what is damaged, what to bring. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { EXIT } from "../../src/base/errors.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { inWorld, type Ran, runLine } from "../support/transcripts.ts";

const MIB = 1024 * 1024;

test("a bundle of three volumes: all is well, two are missing, one is damaged", async () => {
  await inWorld("bundle", async (world) => {
    const run = (line: string): Promise<Ran> => runLine(world, line);
    const must = async (line: string): Promise<Ran> => {
      const ran = await run(line);
      assert.equal(ran.exit, 0, `${line}: ${ran.err}`);
      return ran;
    };
    writeFileSync(join(world.folder, "big.safetensors"), makeSafetensors(33 * MIB));
    await must("coffer key new alice --no-passphrase");
    await must("coffer init my.coffer --me alice");
    await must("coffer add big.safetensors --name acme/big --store my.coffer");
    await must("coffer promote acme/big --store my.coffer");
    mkdirSync(join(world.folder, "stick"));
    const create = "coffer bundle create acme/big --volume-size 16M --store my.coffer";
    const one = await run(`${create} --out stick/one.tar`);
    assert.match(one.err, /expected a folder for \d+ volumes, found a file \[USAGE\]/);
    await must(`${create} --out stick`);
    const volumes = readdirSync(join(world.folder, "stick")).sort();
    assert.ok(volumes.length >= 3);
    await must("coffer bundle verify stick");
    const [, root = ""] = /(1:[0-9a-f]{64})/.exec((await run("coffer clone stick other.coffer")).err) ?? [];
    await must(`coffer clone stick other.coffer --root ${root}`);
    assert.match((await must("coffer pull stick --store other.coffer")).err, /left a receipt for them: /);
    const receipt = readdirSync(join(world.folder, "stick")).find((name) => name.endsWith(".coffer-receipt"));
    const shown = await must(`coffer receipt show stick/${receipt}`);
    assert.match(shown.out, /^after {5}the import of bundle [0-9a-f]{64}$/m);
    assert.match((await must(`coffer receipt show stick/${receipt} --json`)).out, /"answers": "[0-9a-f]{64}"/);

    const first = `stick/${volumes[0]}`;
    const again = await must(`${create.replace("--volume-size 16M", "--volume-size 16M --only-volume 1")} --out stick`);
    assert.match(again.err, new RegExp(`1 volume of ${volumes.length}`));

    const missing = await run(`coffer bundle verify ${first}`);
    assert.equal(missing.exit, EXIT.incomplete);
    assert.match(missing.out, /missing: volume 2 of/);
    assert.match(missing.err, /--only-volume 2 --out FOLDER/);
    assert.match(missing.err, /and the same for \d other volumes?: 3/);
    assert.match((await must(`coffer bundle inspect ${first}`)).err, /warning: volume 2 of \d is not here/);

    const second = join(world.folder, "stick", volumes[1] ?? "");
    truncateSync(second, MIB);
    const damaged = await run("coffer bundle verify stick");
    assert.equal(damaged.exit, EXIT.corrupt);
    assert.match(damaged.out, /damaged: .*\[VOLUME_DAMAGED\]/);
    renameSync(second, join(world.folder, "away.tar"));
    assert.equal((await run("coffer bundle verify stick")).exit, EXIT.incomplete);
  });
});
