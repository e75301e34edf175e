// SPDX-License-Identifier: Apache-2.0
/**
 * Every command that writes is in the list of acts, and every step that an act takes has its row in docs/crash.md: what is
 * on disk if it stops there, and what the next start does. test/slow/kill-points.test.ts stops and fails each of them.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Command } from "commander";
import { buildProgram } from "../../src/cli/program.ts";
import { Ui } from "../../src/cli/ui.ts";
import { ACTS } from "../support/acts.ts";
import { litter, makeMachine } from "../support/machine.ts";
import { stepsOf } from "../support/steps.ts";

/** Commands that write nothing into a store, or only copies of what lies there, or what this machine notes for itself. */
const READING = [
  ...["key new", "key list", "key show", "policy show"],
  ...["log", "list", "show", "resolve", "path", "checkout", "serve", "help", "completion", "__complete", "man"],
  ...["du", "doctor", "bundle inspect", "bundle verify", "receipt create", "receipt show", "receipt verify"],
  ...["remote add", "remote list", "remote remove", "remote status", "push", "log fork show"],
];

/** Commands with commands below them that do something themselves. */
const GROUPS_THAT_ACT = ["log"];

function leaves(command: Command, above = ""): string[] {
  const name = `${above} ${command.name()}`.trim();
  const below = command.commands.flatMap((inner) => leaves(inner, name));
  return command.commands.length > 0 && !GROUPS_THAT_ACT.includes(name) ? below : [name, ...below];
}

test("every command is in the list of acts or known to write nothing", () => {
  const io = {
    ...{ out: () => undefined, err: () => undefined, env: {}, cwd: "/", home: "/", terminal: false },
    ask: () => assert.fail("no questions here"),
    outBytes: () => assert.fail("no output here"),
    input: () => assert.fail("no input here"),
    neverWait: () => assert.fail("no output here"),
    stopped: () => assert.fail("no signals here"),
    ports: {
      ...{ clock: () => 0, random: (length: number) => new Uint8Array(length), sleep: () => Promise.resolve() },
      openFolder: () => assert.fail("no folders here"),
    },
  };
  const tree = buildProgram(io, new Ui(io), { exit: 0 }).commands.flatMap((command) => leaves(command));
  const acts = new Set(ACTS.map((act) => act.command));
  for (const command of tree)
    assert.ok(acts.has(command) !== READING.includes(command), `${command}: expected in ACTS or in READING`);
  for (const act of acts) assert.ok(tree.includes(act), `${act}: no such command`);
  assert.equal(new Set(ACTS.map((act) => act.name)).size, ACTS.length);
});

/** The acts that a row is about: `every act`, `every act but a, b`, or `a, b`. */
function actsOf(cell: string): readonly string[] {
  const names = ACTS.map((act) => act.name);
  const but = /^every act(?: but (.+))?$/.exec(cell);
  const listed = (but === null ? cell : (but[1] ?? "")).split(", ").filter((name) => name !== "");
  for (const name of listed) assert.ok(names.includes(name), `docs/crash.md: no act is called ${name}`);
  return but === null ? listed : names.filter((name) => !listed.includes(name));
}

test("docs/crash.md has a row for every step of every act, and for no other", async (t) => {
  const page = readFileSync(new URL("../../docs/crash.md", import.meta.url), "utf8");
  const rows = page.split("\n").filter((line) => line.startsWith("| `"));
  const told = new Set<string>();
  for (const line of rows) {
    const [step = "", acts = "", left = "", next = ""] = line
      .split("|")
      .slice(1)
      .map((cell) => cell.trim().replaceAll("`", ""));
    assert.ok(left !== "" && next !== "", `${step}: expected what is left and what comes next`);
    for (const act of actsOf(acts)) {
      assert.ok(!told.has(`${act}: ${step}`), `${act}: ${step} stands in two rows`);
      told.add(`${act}: ${step}`);
    }
  }
  const machine = await makeMachine();
  t.after(() => machine.end());
  const taken = new Set<string>();
  let disk = machine.disk;
  for (const act of ACTS) {
    const start = disk.crash("none-lost");
    await act.prepare?.(machine, start);
    await litter(start);
    const acted = start.crash("none-lost");
    await act.run(machine, acted, "steps");
    for (const step of stepsOf(acted.trace)) if (step !== undefined) taken.add(`${act.name}: ${step}`);
    if (act.leads !== false) disk = acted;
  }
  assert.deepEqual([...told].sort(), [...taken].sort());
});
