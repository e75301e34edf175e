// SPDX-License-Identifier: Apache-2.0
/** The short way in reads a command line as commander does, or leaves it alone. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Command } from "commander";
import fc from "fast-check";
import { buildProgram } from "../../src/cli/program.ts";
import { parseQuick } from "../../src/cli/quick.ts";
import { Ui } from "../../src/cli/ui.ts";
import { quietIo } from "../support/quiet-io.ts";

/** What commander makes of it: undefined for an error, or for another command. */
async function byCommander(argv: readonly string[]): Promise<unknown> {
  const program = buildProgram(quietIo, new Ui(quietIo), { exit: 0 });
  let found: unknown;
  for (const name of ["resolve", "path"] as const) {
    const command = program.commands.find((one) => one.name() === name);
    assert.ok(command !== undefined);
    command.action((...given: unknown[]) => {
      const self = given.at(-1) as Command;
      const operands = given.slice(0, -2).filter((operand) => operand !== undefined);
      found = { command: name, operands, options: self.optsWithGlobals() };
    });
  }
  try {
    await program.parseAsync([...argv], { from: "user" });
  } catch {
    return undefined; // the wording of errors is the transcripts' matter
  }
  return found;
}

const plain: readonly (readonly string[])[] = [
  ["resolve", "acme/tiny"],
  ["resolve", "acme/tiny", "--json"],
  ["--json", "resolve", "acme/tiny"],
  ["path", "acme/tiny", "--json"],
  ["--store", "s", "resolve", "acme/tiny"],
  ["resolve", "--store", "s", "acme/tiny@prod", "--no-memory"],
  ["--no-memory", "--secrets", "a", "--state", "b", "--keys", "c", "--passphrase-file", "d", "resolve", "x"],
  ["path", "acme/tiny"],
  ["path", "acme/tiny", "a.gguf", "--to", "out"],
  ["--store", "", "path", "acme/tiny"],
];
for (const argv of plain) {
  test(`quick: understood as commander does: coffer ${argv.join(" ")}`, async () => {
    const quick = parseQuick(argv);
    assert.ok(quick !== undefined);
    assert.deepEqual(quick, await byCommander(argv));
  });
}

const left: readonly (readonly string[])[] = [
  [],
  ["resolve"],
  ["resolve", "a", "b"],
  ["path", "a", "b", "c"],
  ["resolve", "a", "--jso"],
  ["resolve", "a", "--json=yes"],
  ["resolve", "a", "--store"],
  ["resolve", "a", "--store", "--json"],
  ["resolve", "a", "--store", "s", "--store", "t"],
  ["resolve", "--", "a"],
  ["resolve", "a", "-h"],
  ["resolve", "a", "--to", "out"],
  ["path", "a", "--json=1"],
  ["--version", "resolve", "a"],
  ["list", "resolve"],
  ["--store", "resolve", "list"],
  ["help", "path"],
];
for (const argv of left) {
  test(`quick: left to commander: coffer ${argv.join(" ")}`, () => assert.equal(parseQuick(argv), undefined));
}

test("quick: whatever is typed, commander would have read the same", async () => {
  const word = fc.constantFrom(
    ...["resolve", "path", "list", "acme/tiny", "a.gguf", "", "-", "--", "-h", "--help", "--version", "--json", "--to"],
    ...["--store", "--store=s", "--secrets", "--state", "--keys", "--passphrase-file", "--no-memory", "--memory", "s"],
  );
  let understood = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 7 }), fc.boolean(), async (words, lead) => {
      const argv = lead ? ["resolve", "acme/tiny", ...words] : words;
      const quick = parseQuick(argv);
      if (quick === undefined) return;
      understood += 1;
      assert.deepEqual(quick, await byCommander(argv));
    }),
    { numRuns: 3000 },
  );
  assert.ok(understood > 50, `${understood} of the command lines were understood`);
});
