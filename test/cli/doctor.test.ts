// SPDX-License-Identifier: Apache-2.0
/** `doctor` as people see it: a line for each thing, what mends it, and the status of the first failure. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { realProbe } from "../../src/cli/machine-checks.ts";
import { inWorld, type Ran, runLine } from "../support/transcripts.ts";

test("doctor: sound, with a warning, with damage, and with no store", async () => {
  await inWorld("doctor", async (world) => {
    const run = (line: string): Promise<Ran> => runLine(world, line);
    const nothing = await run("coffer doctor");
    assert.equal(nothing.exit, 0);
    assert.match(nothing.err, /only the machine was looked at/);
    await run("coffer key new alice --no-passphrase");
    await run("coffer init my.coffer --me alice");
    const sound = await run("coffer doctor --store my.coffer");
    assert.equal(sound.exit, 0);
    assert.match(sound.out, /^ok {4}store: opens, log entry 1$/m);
    const warned = await run("coffer doctor --store my.coffer --no-memory --secrets nowhere");
    assert.equal(warned.exit, 0);
    assert.match(warned.out, /^warn {2}store key: not here[^\n]*\n {6}mend: if it should write: --secrets/m);
    assert.match(warned.out, /^warn {2}memory: left out by --no-memory$/m);
    await run("rm my.coffer/log");
    const damaged = await run("coffer doctor --store my.coffer");
    assert.equal(damaged.exit, 5);
    assert.match(damaged.out, /^fail {2}store: [^\n]+ \[CORRUPT\]\n {6}mend: run `coffer fsck`/m);
  });
});

test("doctor: a program that cannot be started is none; one that can is asked for what it prints", () => {
  const { run } = realProbe(0);
  assert.equal(run("coffer-has-no-such-program", []), undefined);
  assert.equal(run(process.execPath, ["-e", "console.log('out'); console.error('err')"]), "out\nerr\n");
});
