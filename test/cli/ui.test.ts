// SPDX-License-Identifier: Apache-2.0
/** How Coffer speaks to a terminal and to programs: colour, progress, faults. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CofferError, ERRORS } from "../../src/base/errors.ts";
import { Ui } from "../../src/cli/ui.ts";
import { quietIo } from "../support/quiet-io.ts";

function terminal(env: Readonly<Record<string, string>>, isTerminal = true) {
  const said = { out: "", err: "" };
  const ui = new Ui({
    ...quietIo,
    env,
    terminal: isTerminal,
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
  });
  return { ui, said };
}

test("ui: a label has colour on a terminal that shows it and wants it, and nowhere else", () => {
  const warned = (env: Readonly<Record<string, string>>, isTerminal?: boolean): string => {
    const { ui, said } = terminal(env, isTerminal);
    ui.warn("beware");
    return said.err;
  };
  assert.equal(warned({}), "\u001b[33mwarning:\u001b[0m beware\n");
  assert.equal(warned({ NO_COLOR: "" }), "\u001b[33mwarning:\u001b[0m beware\n");
  assert.equal(warned({ NO_COLOR: "1" }), "warning: beware\n");
  assert.equal(warned({ TERM: "dumb" }), "warning: beware\n");
  assert.equal(warned({}, false), "warning: beware\n");
});

test("ui: progress is shown on a terminal alone, and wiped before the next line", () => {
  const { ui, said } = terminal({ NO_COLOR: "1" });
  ui.progress("one");
  ui.progress("two\u001b[31m");
  ui.say("done");
  ui.end();
  assert.equal(said.err, "\r\u001b[Kone\r\u001b[Ktwo?[31m\r\u001b[Kdone\n");
  const piped = terminal({}, false);
  piped.ui.progress("one");
  piped.ui.end();
  assert.deepEqual(piped.said, { out: "", err: "" });
});

test("ui: a fault of the program itself is no CofferError; its trace is told where COFFER_TRACE asks for it", () => {
  const fault = new TypeError("expected a wheel");
  const short = terminal({}, false);
  assert.equal(short.ui.fail(fault), 1);
  assert.match(short.said.err, /^coffer: error: expected a wheel \[INTERNAL\]\ncoffer: hint: [^\n]+\n$/);
  const traced = terminal({ COFFER_TRACE: "1" }, false);
  assert.equal(traced.ui.fail(fault), 1);
  assert.match(traced.said.err, /TypeError: expected a wheel\n +at /);
  const thrown = terminal({ COFFER_TRACE: "1" }, false);
  assert.equal(thrown.ui.fail("a mere word"), 1);
  assert.match(thrown.said.err, /^coffer: error: a mere word \[INTERNAL\]\ncoffer: hint: [^\n]+\n$/);
});

test("ui: a process that may have no more files says so, whatever asked for one", () => {
  const { ui, said } = terminal({}, false);
  const error = Object.assign(new Error("EMFILE: too many open files, open '/x/nacl-fast.js'"), { code: "EMFILE" });
  assert.equal(ui.fail(error), ERRORS.IO_ERROR.exit);
  assert.match(said.err, /^coffer: error: too many files are open \(EMFILE\): .* \[IO_ERROR\]\ncoffer: hint: /);
  assert.doesNotMatch(said.err, /nacl/);
});

test("ui: the trace of an expected failure stands on one line, quoted, before the hint", () => {
  const traced = terminal({ COFFER_TRACE: "1" }, false);
  assert.equal(traced.ui.fail(new CofferError("NAME_NOT_FOUND", "no such name")), 6);
  const [first, second, third] = traced.said.err.split("\n");
  assert.equal(first, "coffer: error: no such name [NAME_NOT_FOUND]");
  assert.match(second ?? "", /at .*ui\.test\.ts/);
  assert.match(third ?? "", /^coffer: hint: /);
});

test("ui: with --json a failure keeps what was told, stdout is one object, and nothing is asked", async () => {
  const { ui, said } = terminal({});
  ui.speakJson();
  ui.data("for people");
  ui.raw("for people");
  ui.json({ name: "a\u001bb\u{e0001}" });
  await assert.rejects(ui.confirm("really?", false), { code: "CONFIRM_NEEDED" });
  assert.equal(ui.fail("a mere word"), 1);
  assert.deepEqual(JSON.parse(said.out), {
    ...{ schemaVersion: 1, name: "a\u001bb\u{e0001}" },
    error: { code: "INTERNAL", message: "a mere word", details: [], hint: JSON.parse(said.out).error.hint },
  });
  assert.ok(said.out.includes('"a\\u001bb\\udb40\\udc01"'), said.out);
});

test("ui: a command that goes on prints one line, and its end adds none", () => {
  const { ui, said } = terminal({});
  ui.jsonLine({ port: 1 });
  assert.equal(said.out, "");
  ui.speakJson();
  ui.jsonLine({ port: 1 });
  ui.json({ port: 2 });
  ui.end();
  assert.equal(said.out, '{"schemaVersion":1,"port":1}\n');
});
